#pragma once

#include <array>
#include <optional>
#include <vector>

#include "common/calibrate/cache_factors.h"
#include "common/calibrate/float_layer.h"
#include "common/calibrate/layer_pass.h"
#include "common/calibrate/recipe.h"
#include "common/model/checkpoint.h"

namespace baton {

// Linear layers that are served as one matrix and so must be of one form.
enum class Unit { kQkv, kO, kGateUp, kDown };
inline constexpr int kUnits = 4;
std::vector<Linear> LinearsOf(Unit unit);

// What rounding one unit, weights and inputs, costs the residual stream, measured with
// round-to-nearest on a sample of inputs that are scaled as the recipe will: the error at the
// unit's own output relative to that output, times the share of the stream's power that its half of
// the layer (attention or MLP) adds. And what it weighs.
struct UnitCost {
  int layer = 0;
  Unit unit = Unit::kQkv;
  double base_error = 0;
  double upgrade_error = 0;  // 0 when the upgrade is to keep it
  double base_bits = 0;      // in all, scales included
  double upgrade_bits = 0;
  double weights = 0;
};

struct SurveyResult {
  std::vector<CacheFactors> factors;  // per layer; empty unless asked for
  std::vector<UnitCost> costs;        // layer by layer; empty without a recipe
};

// One pass of a few sequences through the unquantized model: the factors of the cache, and where
// `recipe` is given the sensitivities under it. `hidden`: the embedded sequences.
SurveyResult Survey(const Checkpoint& checkpoint, bool cache_factors, const Recipe* recipe,
                    LayerPass& pass, Matrix hidden, const Parallel& parallel);

// Plans of all layers whose linear layers together take at most `bits` per weight: units are
// upgraded in the order of the error they save per bit. INVALID_ARGUMENT when the base scheme takes
// more than `bits`.
absl::StatusOr<std::vector<LayerPlan>> PlanWithinBits(const Recipe& recipe, double bits, int layers,
                                                      const std::vector<UnitCost>& costs);

// Every layer alike.
std::vector<LayerPlan> PlanUniform(const Recipe& recipe, int layers);

}  // namespace baton
