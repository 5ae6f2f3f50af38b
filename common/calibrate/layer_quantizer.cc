#include "common/calibrate/layer_quantizer.h"

#include <algorithm>
#include <cmath>

#include "common/base/status.h"
#include "common/quant/algorithms/half_quadratic.h"
#include "common/quant/algorithms/linear_algebra.h"
#include "common/quant/algorithms/progressive.h"
#include "common/quant/weight_format.h"

namespace baton {
namespace {

void RoundAll(kernels::ScalarType type, std::vector<float>& values) {
  for (float& value : values) value = RoundScale(value, type);
}

}  // namespace

LayerQuantizer::LayerQuantizer(const Recipe& recipe, kernels::ScalarType stored_type,
                               LayerPass& pass, Matrix hidden, int64_t first_held_out,
                               const Parallel& parallel)
    : recipe_(recipe),
      stored_type_(stored_type),
      pass_(pass),
      hidden_(std::move(hidden)),
      first_held_out_(first_held_out),
      parallel_(parallel) {}

absl::StatusOr<QuantizedLayer> LayerQuantizer::Quantize(FloatLayer layer,
                                                        const LayerSamples& samples,
                                                        const LayerPlan& plan) {
  for (const Linear linear : kAllLinears) {
    for (const float w : layer[linear].weight.values) {
      if (std::isfinite(w)) continue;
      return InvalidArgument("{}: weight {}, expected finite values", ShortNameOf(linear), w);
    }
  }
  QuantizedLayer out;
  out.values = std::move(layer);
  Fold(samples, out);
  const int64_t width = hidden_.cols;
  {
    GramGatherer grams(width, first_held_out_, parallel_);
    pass_.Attention(out.values, {.qkv = grams.Visitor()}, false, hidden_);
    BATON_RETURN_IF_ERROR(Round({Linear::kQ, Linear::kK, Linear::kV}, grams, plan, out));
  }
  {
    GramGatherer grams(out.values[Linear::kO].weight.cols, first_held_out_, parallel_);
    pass_.Attention(out.values, {.o = grams.Visitor()}, false, hidden_);
    BATON_RETURN_IF_ERROR(Round({Linear::kO}, grams, plan, out));
  }
  pass_.Attention(out.values, {}, true, hidden_);
  {
    GramGatherer grams(width, first_held_out_, parallel_);
    pass_.Mlp(out.values, {.gate_up = grams.Visitor()}, false, hidden_);
    BATON_RETURN_IF_ERROR(Round({Linear::kGate, Linear::kUp}, grams, plan, out));
  }
  {
    GramGatherer grams(out.values[Linear::kDown].weight.cols, first_held_out_, parallel_);
    pass_.Mlp(out.values, {.down = grams.Visitor()}, false, hidden_);
    BATON_RETURN_IF_ERROR(Round({Linear::kDown}, grams, plan, out));
  }
  pass_.Mlp(out.values, {}, true, hidden_);
  return out;
}

void LayerQuantizer::Skip(const FloatLayer& values) {
  pass_.Attention(values, {}, true, hidden_);
  pass_.Mlp(values, {}, true, hidden_);
}

void LayerQuantizer::Fold(const LayerSamples& samples, QuantizedLayer& out) const {
  FloatLayer& layer = out.values;
  const FoldSearch search{.rules = recipe_.fold_rules,
                          .alphas = recipe_.fold_alphas,
                          .spec = recipe_.weights,
                          .range = recipe_.range,
                          .activations = recipe_.activations,
                          .or_none = recipe_.fold_alphas.empty()};
  const auto choose = [&](const char* name, const SampleGatherer& inputs,
                          const std::vector<Linear>& users) -> std::vector<float> {
    std::vector<const Matrix*> weights;
    for (const Linear user : users) weights.push_back(&layer[user].weight);
    FoldChoice choice =
        SearchFactors(search, inputs.sample(), inputs.Statistics(), weights, parallel_);
    std::vector<float> factors = choice.factors;
    out.folds.push_back({name, std::move(choice)});
    return factors;
  };
  const auto scale = [&](const std::vector<Linear>& users, const std::vector<float>& factors) {
    for (const Linear user : users) ScaleColumns(factors, layer[user].weight);
  };
  if (recipe_.fold_norms) {
    const std::vector<Linear> qkv = {Linear::kQ, Linear::kK, Linear::kV};
    std::vector<float> factors = choose("input_layernorm", samples.qkv, qkv);
    DivideNorm(stored_type_, layer.input_norm, factors);
    scale(qkv, factors);
    const std::vector<Linear> gate_up = {Linear::kGate, Linear::kUp};
    factors = choose("post_attention_layernorm", samples.gate_up, gate_up);
    DivideNorm(stored_type_, layer.post_attention_norm, factors);
    scale(gate_up, factors);
  }
  if (recipe_.fold_down) {
    const std::vector<float> factors = choose("mlp.up_proj", samples.down, {Linear::kDown});
    DivideRows(factors, layer[Linear::kUp].weight, layer[Linear::kUp].bias);
    scale({Linear::kDown}, factors);
  }
  // As they will be stored.
  for (std::vector<float>* norm : {&layer.q_norm, &layer.k_norm}) RoundAll(stored_type_, *norm);
  for (FloatLinear& linear : layer.linears) RoundAll(stored_type_, linear.bias);
}

absl::StatusOr<CodedMatrix> LayerQuantizer::Code(const CodeSpec& spec, const Matrix& weight,
                                                 const Matrix& gram) const {
  switch (recipe_.rounding) {
    case Rounding::kGptq: {
      BATON_ASSIGN_OR_RETURN(GptqResult result, Gptq(weight, gram, spec, recipe_.gptq, parallel_));
      return std::move(result.coded);
    }
    case Rounding::kHalfQuadratic: {
      BATON_ASSIGN_OR_RETURN(
          const HalfQuadraticMatrix coded,
          QuantizeHalfQuadratic(weight, {.bits = spec.bits, .group = spec.group}, parallel_));
      return Integral(coded, weight, spec.scale_type, parallel_);
    }
    case Rounding::kProgressive: {
      BATON_ASSIGN_OR_RETURN(const ProgressiveMatrix coded,
                             QuantizeProgressive(weight, spec.group, parallel_));
      return Flat(coded);
    }
    case Rounding::kNearest:
      break;
  }
  if (recipe_.range.search != RangeSearch::kOutput) {
    return RoundToNearest(weight, spec, recipe_.range, {}, parallel_);
  }
  CodedMatrix coded = MakeCodedMatrix(weight.rows, weight.cols, spec);
  FitGridsToOutput(weight, gram, recipe_.range, parallel_, coded);
  EncodeNearest(weight, parallel_, coded);
  return coded;
}

absl::Status LayerQuantizer::Round(const std::vector<Linear>& linears, const GramGatherer& grams,
                                   const LayerPlan& plan, QuantizedLayer& out) const {
  for (const Linear linear : linears) {
    const LinearPlan& wanted = plan[static_cast<size_t>(linear)];
    if (wanted.keep) {
      RoundAll(stored_type_, out.values[linear].weight.values);
      out.linears.push_back({.linear = linear, .bits_per_weight = 16});
      continue;
    }
    FloatLinear& target = out.values[linear];
    CodeSpec spec = wanted.spec;
    if (spec.group != 0) spec.group = GroupFor(target.weight.cols, static_cast<int>(spec.group));
    absl::StatusOr<CodedMatrix> coded = Code(spec, target.weight, grams.calibration());
    if (!coded.ok()) return Annotate(coded.status(), ShortNameOf(linear));
    out.linears.push_back(Report(linear, target.weight, *coded, grams));
    target.weight = coded->Values();
    target.activations = wanted.activations;
    out.codes[static_cast<size_t>(linear)] = *std::move(coded);
  }
  return absl::OkStatus();
}

LinearReport LayerQuantizer::Report(Linear linear, const Matrix& before, const CodedMatrix& coded,
                                    const GramGatherer& grams) const {
  LinearReport report{.linear = linear, .bits_per_weight = coded.BitsPerWeight()};
  const Matrix error = Difference(before, coded.Values());
  report.sqnr_db = 10 * std::log10(SquaredNorm(before) / std::max(SquaredNorm(error), 1e-30));
  const Matrix& gram = grams.held_out();
  const auto tokens = static_cast<double>(hidden_.rows - first_held_out_ * pass_.window());
  if (tokens <= 0) return report;
  const double sum = QuadraticError(error, gram, parallel_);
  const double power = std::max(QuadraticError(before, gram, parallel_), 1e-30);
  report.held_out_error = sum / (tokens * static_cast<double>(before.rows));
  report.relative_error = sum / power;
  const Matrix nearest = RoundToNearest(before, coded.spec, {}, {}, parallel_).Values();
  report.nearest_error = QuadraticError(Difference(before, nearest), gram, parallel_) / power;
  return report;
}

}  // namespace baton
