#pragma once

#include <array>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/calibrate/float_layer.h"
#include "common/quant/algorithms/code_spec.h"
#include "common/quant/algorithms/folding.h"
#include "common/quant/algorithms/gptq.h"

namespace baton {

enum class Rounding { kNearest, kGptq, kHalfQuadratic, kProgressive };

// What a linear layer is stored as.
struct LinearPlan {
  bool keep = false;  // in the checkpoint's 16 bits
  CodeSpec spec;
  std::optional<CodeKind> activations;  // per token, dynamic
};
using LayerPlan = std::array<LinearPlan, kLinears>;

// How one checkpoint is made.
struct Recipe {
  std::string scheme;     // "w4a16"
  std::string algorithm;  // "awq+gptq"
  CodeSpec weights;
  std::optional<CodeKind> activations;
  // What the most sensitive layers get when a budget of bits allows it.
  LinearPlan upgrade;
  Rounding rounding = Rounding::kNearest;
  GptqOptions gptq;    // kGptq
  RangeOptions range;  // kNearest, and the searches for scaling factors
  // Scaling of inputs, folded into the two norms and into up (for down's inputs).
  bool fold_norms = false;
  bool fold_down = false;
  std::vector<FoldRule> fold_rules;
  std::vector<float> fold_alphas;  // empty: searched over the usual grid; given: used in any case
  // Smoothing of the KV cache (cache_factors.h).
  bool smooth_cache = false;

  // Everything that decides the numbers, as text.
  std::string Description() const;
  // Whether it can be made only with calibration text.
  bool NeedsText() const;
  LinearPlan BasePlan() const { return {false, weights, activations}; }
};

// What a user may choose beyond the scheme.
struct RecipeOptions {
  std::string scheme;              // w8a8, w8a8-fp8, w4a16, w4a8, w4a8kv4
  std::string algorithm = "auto";  // of the scheme's list, or auto
  std::optional<int> group;        // of 4-bit weights; 0: per channel
  std::optional<bool> symmetric;   // 4-bit weights
  std::optional<float> alpha;      // fixed instead of searched
  std::optional<double> damping;   // GPTQ
  std::optional<bool> smooth_cache;
  kernels::ScalarType scale_type = kernels::ScalarType::kBf16;  // that of the model's weights
};

// The schemes and the algorithms by name, for messages and help.
std::string KnownSchemes();
std::string KnownAlgorithms();

// INVALID_ARGUMENT for an unknown name or a value out of range, UNIMPLEMENTED for an algorithm
// whose result has no file form (nf4, llm.int8) or that does not go with the scheme: both name the
// field, its value and what was expected.
absl::StatusOr<Recipe> MakeRecipe(const RecipeOptions& options);

}  // namespace baton
