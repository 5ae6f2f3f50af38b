#pragma once

#include "absl/status/statusor.h"
#include "common/quant/algorithms/code_spec.h"
#include "common/quant/algorithms/matrix.h"
#include "common/quant/algorithms/nearest.h"

namespace baton {

// GPTQ (Frantar et al., 2023): columns are rounded one after the other, and the error of each is
// spread over the columns that are still free, by the inverse Hessian of the layer's inputs.
struct GptqOptions {
  double damping = 0.01;  // of the mean diagonal; raised tenfold when the factorization fails
  int damping_tries = 6;
  int64_t block = 128;  // columns between products over all that is left
  // Columns in the order of their importance. The groups stay those of the columns' own order
  // (static groups), so nothing has to be permuted when the weight is used.
  bool act_order = true;
  // Grids from the weights as they were before any was rounded. Off: each group is fitted to the
  // columns as they are when its turn comes; needs act_order off.
  bool static_groups = true;
  // Of the grids. kError weighs the squared error of a column by what it costs after the columns
  // that follow have made up for it: 1 / U[j,j]², which is what GPTQ's steps add up to.
  RangeOptions range;
  // After rounding: scales fitted to the codes by least squares at the layer's output, then GPTQ
  // with those scales again; so many times. The best result is kept.
  int refits = 0;
  // After all that: sweeps of coordinate descent over the codes, which can only lower the error.
  int sweeps = 0;
};

struct GptqResult {
  CodedMatrix coded;
  double error = 0;    // trace(D H Dᵀ)
  double damping = 0;  // used
};

// `hessian`: Xᵀ X over the calibration inputs, [cols, cols]. A column whose inputs were all zero is
// rounded to zero. Needs spec.block_rows = 1. INVALID_ARGUMENT for options or values out of range;
// FAILED_PRECONDITION when no damping makes the Hessian positive definite.
absl::StatusOr<GptqResult> Gptq(const Matrix& weights, const Matrix& hessian, const CodeSpec& spec,
                                const GptqOptions& options, const Parallel& parallel);

}  // namespace baton
