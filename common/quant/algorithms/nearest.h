#pragma once

#include <span>

#include "common/quant/algorithms/code_spec.h"
#include "common/quant/algorithms/matrix.h"

namespace baton {

// How the range of a group is found.
enum class RangeSearch {
  kMinMax,  // the extremes
  kError,   // the extremes shrunk by the factor that gives the least error
  kOutput,  // as kError, by the error at the layer's output (AWQ's clip search)
};

struct RangeOptions {
  RangeSearch search = RangeSearch::kMinMax;
  float max_shrink = 0.5f;  // ranges from 1 down to 1 − max_shrink …
  int steps = 40;           // … in so many steps
  // Of |w − ŵ| in the error; 2.4 weighs outliers as GPTQ's reference code does. 2 with importance.
  float norm = 2.0f;
};

// The grid of one group of weights; kMinMax or kError. `importance` (empty: all 1) weighs the
// squared errors: the diagonal of the Hessian makes it the error at the layer's output but for
// correlations.
Grid FitGrid(std::span<const float> weights, std::span<const float> importance,
             const CodeSpec& spec, const RangeOptions& options);

// Grids of every group of `weights`. `importance` [cols] or empty.
void FitGrids(const Matrix& weights, std::span<const float> importance, const RangeOptions& options,
              const Parallel& parallel, CodedMatrix& coded);

// RangeSearch::kOutput: the error of a group of a row is d H d ᵀ with the group's own block of
// `hessian` [cols, cols]: exact but for what it shares with other groups. Needs block_rows = 1.
void FitGridsToOutput(const Matrix& weights, const Matrix& hessian, const RangeOptions& options,
                      const Parallel& parallel, CodedMatrix& coded);

// Round-to-nearest with the grids that `coded` holds.
void EncodeNearest(const Matrix& weights, const Parallel& parallel, CodedMatrix& coded);

// Both: round-to-nearest in any granularity of CodeSpec. Weights must be finite here and above.
CodedMatrix RoundToNearest(const Matrix& weights, const CodeSpec& spec, const RangeOptions& options,
                           std::span<const float> importance, const Parallel& parallel);

// Symmetric INT8 or FP8 per token (row), dynamic: rounds activations x[rows, cols] in place to what
// the kernels compute with (numbers.md "Activations"): fp32 scales.
void RoundTokens(std::span<float> x, int64_t cols, CodeKind kind);

}  // namespace baton
