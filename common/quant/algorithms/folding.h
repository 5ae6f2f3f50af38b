#pragma once

#include <optional>
#include <span>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/quant/algorithms/code_spec.h"
#include "common/quant/algorithms/matrix.h"
#include "common/quant/algorithms/nearest.h"

namespace baton {

// Scaling of a linear layer's inputs: x / s into W · s leaves the output as it was, and moves
// precision between channels. The division is folded into whatever makes x.

// Column j of `weights` times factors[j].
void ScaleColumns(std::span<const float> factors, Matrix& weights);
// Row i of `weights` (and of `bias`, if any) divided by factors[i].
void DivideRows(std::span<const float> factors, Matrix& weights, std::span<float> bias);

// Folds x / s into the weight of the norm that makes x. A norm that is stored as bf16 or fp16 is
// rounded here, and `factors` become what the rounded norm really divides by, so that nothing is
// lost: the weights after it are scaled by exactly that.
void DivideNorm(kernels::ScalarType stored, std::vector<float>& norm, std::vector<float>& factors);

// Per-channel statistics of a layer's inputs over the calibration tokens.
struct InputStatistics {
  std::vector<float> amax;    // [cols]
  std::vector<float> mean;    // [cols], of |x|
  std::vector<float> fourth;  // [cols], (mean of x⁴)^¼
};

enum class FoldRule {
  kSmoothQuant,   // amax(x)^α / amax(W)^(1−α)  (Xiao et al., 2023)
  kFourthMoment,  // (mean x⁴)^(α/4) / rms(W)^(1−α): as heavy in the tail, but steady: what a
                  // sample's extremes say of the tokens to come is little
  kAwq,           // mean|x|^α                  (Lin et al., 2024)
  kAwqDuo,        // mean|x|^α / mean|W|^(1−α)
};
// "smoothquant"
std::string_view NameOf(FoldRule rule);

// Factors of one rule, positive and normalized to √(max · min) = 1. `weights` share the inputs.
std::vector<float> FoldFactors(FoldRule rule, float alpha, const InputStatistics& inputs,
                               std::span<const Matrix* const> weights);

// What the search tries, and how it judges.
struct FoldSearch {
  std::vector<FoldRule> rules = {FoldRule::kAwq};
  std::vector<float> alphas;  // empty: 0, 0.05 … 0.95
  CodeSpec spec;              // of the weights, rounded to nearest
  RangeOptions range;
  std::optional<CodeKind> activations;  // quantized per token too
  bool or_none = true;                  // no factors when none of those tried is better
};

struct FoldChoice {
  std::vector<float> factors;  // [cols]
  FoldRule rule = FoldRule::kAwq;
  float alpha = 0;
  bool identity = true;  // no rule is better than none; factors are all 1
  double error = 0;      // mean squared error of the outputs with the factors
  double plain = 0;      // and without
};

// The factors with the least squared error ‖X Wᵀ − Q(X / s) Q(W s)ᵀ‖² over all `weights` on the
// sample x[tokens, cols]; with `or_none` never worse than no factors.
FoldChoice SearchFactors(const FoldSearch& search, const Matrix& x, const InputStatistics& inputs,
                         std::span<const Matrix* const> weights, const Parallel& parallel);

}  // namespace baton
