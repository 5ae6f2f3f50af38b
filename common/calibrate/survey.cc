#include "common/calibrate/survey.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <optional>

#include "common/base/status.h"
#include "common/calibrate/statistics.h"
#include "common/quant/algorithms/folding.h"
#include "common/quant/algorithms/linear_algebra.h"
#include "common/quant/algorithms/nearest.h"
#include "common/quant/weight_format.h"

namespace baton {
namespace {

constexpr int64_t kCacheSequences = 4;

CodeSpec SpecFor(CodeSpec spec, int64_t cols) {
  if (spec.group != 0) spec.group = GroupFor(cols, static_cast<int>(spec.group));
  return spec;
}

Matrix GramOf(const Matrix& x, const Parallel& parallel) {
  Matrix gram(x.cols, x.cols);
  AddGram({x.values.data(), x.cols}, x.rows, gram, parallel);
  return gram;
}

// The matrices of a unit and a sample of their inputs, scaled as the recipe will scale them but for
// the exponent, whose search would take as long as the quantization.
struct UnitSample {
  std::vector<Matrix> weights;
  Matrix x;
  Matrix gram;  // Xᵀ X
};

bool Scales(const Recipe& recipe, Unit unit) {
  if (unit == Unit::kO || recipe.fold_rules.empty()) return false;
  return unit == Unit::kDown ? recipe.fold_down : recipe.fold_norms;
}

UnitSample SampleOf(const Recipe& recipe, Unit unit, const FloatLayer& layer,
                    const SampleGatherer& inputs, const Parallel& parallel) {
  constexpr float kMiddle = 0.5f;
  UnitSample sample{{}, inputs.sample(), {}};
  std::vector<const Matrix*> users;
  for (const Linear linear : LinearsOf(unit)) {
    sample.weights.push_back(layer[linear].weight);
    users.push_back(&layer[linear].weight);
  }
  if (Scales(recipe, unit)) {
    const std::vector<float> factors =
        FoldFactors(recipe.fold_rules.back(), kMiddle, inputs.Statistics(), users);
    for (Matrix& weight : sample.weights) ScaleColumns(factors, weight);
    for (int64_t i = 0; i < sample.x.rows; ++i) {
      for (size_t j = 0; j < factors.size(); ++j) sample.x.Row(i)[j] /= factors[j];
    }
  }
  sample.gram = GramOf(sample.x, parallel);
  return sample;
}

// Adds up the errors of a unit's matrices under one plan; those of weights and of inputs are taken
// for independent.
double ErrorOf(const LinearPlan& plan, const UnitSample& sample, const Parallel& parallel,
               double& bits) {
  std::optional<Matrix> lost;  // Xᵀ X of what the inputs lose
  if (plan.activations && !plan.keep) {
    Matrix rounded = sample.x;
    RoundTokens(rounded.values, rounded.cols, *plan.activations);
    lost = GramOf(Difference(sample.x, rounded), parallel);
  }
  double error = 0;
  for (const Matrix& weight : sample.weights) {
    const auto count = static_cast<double>(weight.values.size());
    if (plan.keep) {
      bits += 16 * count;
      continue;
    }
    const CodedMatrix coded =
        RoundToNearest(weight, SpecFor(plan.spec, weight.cols), {}, {}, parallel);
    bits += coded.BitsPerWeight() * count;
    const double power = std::max(QuadraticError(weight, sample.gram, parallel), 1e-30);
    error += QuadraticError(Difference(coded.Values(), weight), sample.gram, parallel) / power;
    if (lost) error += QuadraticError(weight, *lost, parallel) / power;
  }
  return error;
}

UnitCost CostOf(const Recipe& recipe, const UnitSample& sample, double share,
                const Parallel& parallel) {
  UnitCost cost;
  cost.base_error = share * ErrorOf(recipe.BasePlan(), sample, parallel, cost.base_bits);
  cost.upgrade_error = share * ErrorOf(recipe.upgrade, sample, parallel, cost.upgrade_bits);
  for (const Matrix& weight : sample.weights) {
    cost.weights += static_cast<double>(weight.values.size());
  }
  return cost;
}

}  // namespace

std::vector<Linear> LinearsOf(Unit unit) {
  switch (unit) {
    case Unit::kQkv:
      return {Linear::kQ, Linear::kK, Linear::kV};
    case Unit::kO:
      return {Linear::kO};
    case Unit::kGateUp:
      return {Linear::kGate, Linear::kUp};
    case Unit::kDown:
      return {Linear::kDown};
  }
  return {};
}

SurveyResult Survey(const Checkpoint& checkpoint, bool cache_factors, const Recipe* recipe,
                    LayerPass& pass, Matrix hidden, const Parallel& parallel) {
  const ModelConfig& config = checkpoint.config();
  SurveyResult result;
  for (int index = 0; index < config.layers; ++index) {
    FloatLayer layer = LoadFloatLayer(checkpoint, index);
    std::array<SampleGatherer, kUnits> samples = {
        SampleGatherer(config.hidden_size, hidden.rows, kSampleTokens),
        SampleGatherer(layer[Linear::kO].weight.cols, hidden.rows, kSampleTokens),
        SampleGatherer(config.hidden_size, hidden.rows, kSampleTokens),
        SampleGatherer(config.intermediate_size, hidden.rows, kSampleTokens)};
    LayerPass::AttentionVisitors attention;
    LayerPass::MlpVisitors mlp;
    if (recipe != nullptr) {
      attention.qkv = samples[0].Visitor();
      attention.o = samples[1].Visitor();
      mlp = {samples[2].Visitor(), samples[3].Visitor()};
    }
    if (cache_factors) {
      attention.cache = [&](const SeenAttention& seen) {
        if (seen.first_sequence > 0) return;
        const int64_t sequences = std::min(kCacheSequences, hidden.rows / pass.window());
        result.factors.push_back(SearchCacheFactors(pass, layer, seen, sequences, parallel));
      };
    }
    // What each half of the layer adds, of the stream's power after it.
    const auto share = [&](const std::function<void()>& half) {
      const Matrix before = recipe == nullptr ? Matrix() : hidden;
      half();
      if (recipe == nullptr) return 0.0;
      return SquaredNorm(Difference(hidden, before)) / std::max(SquaredNorm(hidden), 1e-30);
    };
    const double of_attention = share([&] { pass.Attention(layer, attention, true, hidden); });
    const double of_mlp = share([&] { pass.Mlp(layer, mlp, true, hidden); });
    for (int u = 0; u < kUnits && recipe != nullptr; ++u) {
      const auto unit = static_cast<Unit>(u);
      const bool in_attention = unit == Unit::kQkv || unit == Unit::kO;
      UnitCost cost =
          CostOf(*recipe, SampleOf(*recipe, unit, layer, samples[static_cast<size_t>(u)], parallel),
                 in_attention ? of_attention : of_mlp, parallel);
      cost.layer = index;
      cost.unit = unit;
      result.costs.push_back(cost);
    }
  }
  return result;
}

std::vector<LayerPlan> PlanUniform(const Recipe& recipe, int layers) {
  LayerPlan plan;
  plan.fill(recipe.BasePlan());
  return std::vector<LayerPlan>(static_cast<size_t>(layers), plan);
}

absl::StatusOr<std::vector<LayerPlan>> PlanWithinBits(const Recipe& recipe, double bits, int layers,
                                                      const std::vector<UnitCost>& costs) {
  std::vector<LayerPlan> plans = PlanUniform(recipe, layers);
  double weights = 0;
  double used = 0;
  for (const UnitCost& cost : costs) {
    weights += cost.weights;
    used += cost.base_bits;
  }
  if (used > bits * weights) {
    return InvalidArgument("bits: {}, expected at least {:.3f}, what scheme '{}' takes with scales",
                           bits, used / weights, recipe.scheme);
  }
  std::vector<size_t> order(costs.size());
  std::iota(order.begin(), order.end(), 0);
  const auto worth = [&](size_t i) {
    const UnitCost& c = costs[i];
    return (c.base_error - c.upgrade_error) / std::max(1.0, c.upgrade_bits - c.base_bits);
  };
  std::stable_sort(order.begin(), order.end(),
                   [&](size_t a, size_t b) { return worth(a) > worth(b); });
  for (const size_t i : order) {
    const UnitCost& cost = costs[i];
    const double more = cost.upgrade_bits - cost.base_bits;
    if (used + more > bits * weights || worth(i) <= 0) continue;
    used += more;
    for (const Linear linear : LinearsOf(cost.unit)) {
      plans[static_cast<size_t>(cost.layer)][static_cast<size_t>(linear)] = recipe.upgrade;
    }
  }
  return plans;
}

}  // namespace baton
