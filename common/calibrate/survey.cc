#include "common/calibrate/survey.h"

#include <algorithm>
#include <numeric>

#include "common/base/status.h"
#include "common/calibrate/statistics.h"
#include "common/quant/algorithms/nearest.h"
#include "common/quant/weight_format.h"

namespace baton {
namespace {

constexpr int64_t kSampleTokens = 512;
constexpr int64_t kCacheSequences = 4;

CodeSpec SpecFor(CodeSpec spec, int64_t cols) {
  if (spec.group != 0) spec.group = GroupFor(cols, static_cast<int>(spec.group));
  return spec;
}

// Adds one matrix of a unit.
void AddCost(const LinearPlan& base, const LinearPlan& upgrade, const Matrix& weight,
             const Matrix& gram, const Parallel& parallel, UnitCost& cost) {
  const double power = std::max(QuadraticError(weight, gram, parallel), 1e-30);
  const auto count = static_cast<double>(weight.values.size());
  const auto error = [&](const LinearPlan& plan, double& bits) {
    if (plan.keep) {
      bits += 16 * count;
      return 0.0;
    }
    const CodedMatrix coded =
        RoundToNearest(weight, SpecFor(plan.spec, weight.cols), {}, {}, parallel);
    bits += coded.BitsPerWeight() * count;
    Matrix d = coded.Values();
    for (size_t i = 0; i < d.values.size(); ++i) d.values[i] -= weight.values[i];
    return QuadraticError(d, gram, parallel) / power;
  };
  cost.base_error += error(base, cost.base_bits);
  cost.upgrade_error += error(upgrade, cost.upgrade_bits);
  cost.weights += count;
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
    pass.Attention(layer, attention, true, hidden);
    pass.Mlp(layer, mlp, true, hidden);
    for (int u = 0; u < kUnits && recipe != nullptr; ++u) {
      UnitCost cost{.layer = index, .unit = static_cast<Unit>(u)};
      const Matrix& x = samples[static_cast<size_t>(u)].sample();
      Matrix gram(x.cols, x.cols);
      AddGram({x.values.data(), x.cols}, x.rows, gram, parallel);
      for (const Linear linear : LinearsOf(cost.unit)) {
        AddCost(recipe->BasePlan(), recipe->upgrade, layer[linear].weight, gram, parallel, cost);
      }
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
