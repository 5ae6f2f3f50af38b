#include "common/calibrate/model_quantizer.h"

#include <algorithm>
#include <memory>
#include <span>

#include "common/base/clock.h"
#include "common/base/status.h"
#include "common/calibrate/cache_factors.h"
#include "common/calibrate/layer_file.h"
#include "common/calibrate/layer_quantizer.h"
#include "common/calibrate/statistics.h"
#include "common/calibrate/survey.h"
#include "common/model/digest.h"
#include "common/quant/checkpoint_writer.h"

namespace baton {
namespace {

constexpr int64_t kHeldOut = LayerPass::kChunkSequences;
// Of the unquantized model: enough for its tails, few enough to cost less than the rounding.
constexpr int64_t kSampleSequences = 6 * LayerPass::kChunkSequences;

kernels::ScalarType StoredType(const Checkpoint& checkpoint) {
  switch (checkpoint.Get(WeightKind::kInputNorm, 0).type) {
    case DataType::kF16:
      return kernels::ScalarType::kFp16;
    case DataType::kBf16:
      return kernels::ScalarType::kBf16;
    default:
      return kernels::ScalarType::kFp32;
  }
}

absl::StatusOr<Matrix> Embed(const Checkpoint& checkpoint, const CalibrationTokens& calibration,
                             int64_t sequences) {
  return EmbedTokens(
      checkpoint,
      std::span(calibration.tokens).first(static_cast<size_t>(sequences * calibration.window)));
}

Digest DigestOfTokens(const CalibrationTokens& calibration) {
  return DigestBuilder()
      .Add(static_cast<uint64_t>(calibration.window))
      .Add(std::as_bytes(std::span(calibration.tokens)))
      .Finish();
}

// One target in the making.
struct Job {
  const QuantizeTarget* target;
  std::vector<LayerPlan> plans;
  std::unique_ptr<CheckpointWriter> writer;
  std::unique_ptr<LayerQuantizer> quantizer;
  QuantizeModelReport report;
  double weights = 0;
  double bits = 0;
};

class Maker {
 public:
  Maker(const QuantizeModelOptions& options, const Checkpoint& checkpoint, const Parallel& parallel)
      : options_(options),
        checkpoint_(checkpoint),
        config_(checkpoint.config()),
        parallel_(parallel),
        pass_(config_, options.calibration.window, parallel),
        start_(clock_.Now()) {}

  absl::StatusOr<std::vector<QuantizeModelReport>> Make() {
    BATON_RETURN_IF_ERROR(Prepare());
    for (int layer = 0; layer < config_.layers; ++layer) BATON_RETURN_IF_ERROR(Layer(layer));
    std::vector<QuantizeModelReport> reports;
    for (Job& job : jobs_) {
      BATON_RETURN_IF_ERROR(job.writer->Finish());
      job.report.bits_per_weight = job.weights > 0 ? job.bits / job.weights : 0;
      reports.push_back(std::move(job.report));
    }
    return reports;
  }

 private:
  absl::Status Prepare() {
    const int64_t all = options_.calibration.sequences();
    BATON_ASSIGN_OR_RETURN(
        stream_, Embed(checkpoint_, options_.calibration, std::min(kSampleSequences, all)));
    const bool smooth = options_.targets.front().recipe.smooth_cache;
    std::string basis;
    if (smooth) {
      factors_ =
          Survey(checkpoint_, true, nullptr, pass_, FirstSequences(kHeldOut), parallel_).factors;
      basis = DigestOfFactors(factors_).ToString();
    }
    for (const QuantizeTarget& target : options_.targets) {
      Job& job = jobs_.emplace_back();
      job.target = &target;
      job.report.out = target.out;
      for (const CacheFactors& f : factors_) {
        job.report.cache_error_plain += (f.k_plain + f.v_plain) / config_.layers;
        job.report.cache_error += (f.k_error + f.v_error) / config_.layers;
      }
      job.plans = PlanUniform(target.recipe, config_.layers);
      if (target.bits) {
        const SurveyResult survey =
            Survey(checkpoint_, false, &target.recipe, pass_, FirstSequences(kHeldOut), parallel_);
        BATON_ASSIGN_OR_RETURN(
            job.plans, PlanWithinBits(target.recipe, *target.bits, config_.layers, survey.costs));
      }
      const std::string recipe =
          fmt::format("{} bits={} calibration={}", target.recipe.Description(),
                      target.bits.value_or(0), DigestOfTokens(options_.calibration).ToString());
      BATON_ASSIGN_OR_RETURN(job.writer,
                             CheckpointWriter::Create(
                                 checkpoint_, options_.model, target.out,
                                 {.recipe = recipe, .resume = options_.resume, .kv_basis = basis}));
      BATON_ASSIGN_OR_RETURN(Matrix hidden, Embed(checkpoint_, options_.calibration, all));
      const int64_t held_out = (all - 1) / kHeldOut * kHeldOut;
      job.quantizer = std::make_unique<LayerQuantizer>(target.recipe, StoredType(checkpoint_),
                                                       pass_, std::move(hidden),
                                                       std::max(held_out, kHeldOut), parallel_);
    }
    return absl::OkStatus();
  }

  Matrix FirstSequences(int64_t count) const {
    Matrix first(std::min(count * pass_.window(), stream_.rows), stream_.cols);
    std::copy_n(stream_.values.begin(), first.values.size(), first.values.begin());
    return first;
  }

  absl::Status Layer(int index) {
    FloatLayer layer = LoadFloatLayer(checkpoint_, index);
    if (!factors_.empty()) FoldCacheFactors(config_, factors_[static_cast<size_t>(index)], layer);
    LayerSamples samples{{config_.hidden_size, stream_.rows, kSampleTokens},
                         {config_.hidden_size, stream_.rows, kSampleTokens},
                         {config_.intermediate_size, stream_.rows, kSampleTokens}};
    pass_.Attention(layer, {.qkv = samples.qkv.Visitor()}, true, stream_);
    pass_.Mlp(layer, {.gate_up = samples.gate_up.Visitor(), .down = samples.down.Visitor()}, true,
              stream_);
    for (Job& job : jobs_) {
      BATON_RETURN_IF_ERROR(LayerOf(job, index, layer, samples));
      Progress();
    }
    return absl::OkStatus();
  }

  absl::Status LayerOf(Job& job, int index, const FloatLayer& layer, const LayerSamples& samples) {
    const LayerPlan& plan = job.plans[static_cast<size_t>(index)];
    if (HasLayer(index, *job.writer)) {
      BATON_ASSIGN_OR_RETURN(const FloatLayer values,
                             ReadLayer(index, plan, checkpoint_, *job.writer));
      job.quantizer->Skip(values);
      ++job.report.layers_kept;
      return absl::OkStatus();
    }
    absl::StatusOr<QuantizedLayer> made = job.quantizer->Quantize(layer, samples, plan);
    if (!made.ok()) return Annotate(made.status(), fmt::format("layer {}", index));
    BATON_RETURN_IF_ERROR(WriteLayer(*made, index, plan, checkpoint_, *job.writer));
    for (const LinearReport& linear : made->linears) {
      const auto count = static_cast<double>(made->values[linear.linear].weight.values.size());
      job.weights += count;
      job.bits += linear.bits_per_weight * count;
    }
    job.report.layers.push_back({index, std::move(made->linears), std::move(made->folds)});
    return AppendReport(job.target->out, job.report.layers.back());
  }

  void Progress() {
    if (!options_.progress) return;
    ++done_;
    const int total = config_.layers * static_cast<int>(jobs_.size());
    const double seconds = std::chrono::duration<double>(clock_.Now() - start_).count();
    options_.progress({done_, total, seconds, seconds / done_ * (total - done_)});
  }

  const QuantizeModelOptions& options_;
  const Checkpoint& checkpoint_;
  const ModelConfig& config_;
  const Parallel& parallel_;
  LayerPass pass_;
  const RealClock clock_;
  const TimePoint start_;
  Matrix stream_;                      // residual stream of the unquantized model
  std::vector<CacheFactors> factors_;  // per layer; empty: the cache is left as it is
  std::vector<Job> jobs_;
  int done_ = 0;
};

absl::Status CheckOptions(const QuantizeModelOptions& options) {
  if (options.targets.empty()) return InvalidArgument("targets: none, expected at least one");
  for (const QuantizeTarget& target : options.targets) {
    if (target.recipe.smooth_cache != options.targets.front().recipe.smooth_cache) {
      return InvalidArgument(
          "smooth_cache: on for '{}' alone, expected the same for all: a pair exchanges its cache",
          target.recipe.smooth_cache ? target.recipe.scheme
                                     : options.targets.front().recipe.scheme);
    }
  }
  const int64_t sequences = options.calibration.sequences();
  const bool needed = std::any_of(
      options.targets.begin(), options.targets.end(),
      [](const QuantizeTarget& target) { return target.recipe.NeedsText() || target.bits; });
  if (sequences == 0 && !needed) return absl::OkStatus();
  if (sequences < 2 * kHeldOut) {
    return InvalidArgument("calibration: {} sequences, expected at least {} (the last {} judge)",
                           sequences, 2 * kHeldOut, kHeldOut);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<QuantizeModelReport>> QuantizeModel(const QuantizeModelOptions& options,
                                                               const Parallel& parallel) {
  BATON_RETURN_IF_ERROR(CheckOptions(options));
  BATON_ASSIGN_OR_RETURN(const Checkpoint checkpoint, Checkpoint::Open(options.model));
  if (options.calibration.window > checkpoint.config().max_positions) {
    return InvalidArgument("window: {}, expected at most the model's {} positions",
                           options.calibration.window, checkpoint.config().max_positions);
  }
  return Maker(options, checkpoint, parallel).Make();
}

}  // namespace baton
