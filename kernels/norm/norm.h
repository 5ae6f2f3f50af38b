#pragma once

#include <cstdint>

namespace baton::kernels {

// RMSNorm over the last dimension: out = x / sqrt(mean(x^2) + eps) * weight, optionally after
// adding to the residual stream. A row may hold several independent groups (per-head q/k norm of
// Qwen3: groups = heads, dim = head_dim, one weight [dim]).
struct RmsNormParams {
  const float* x = nullptr;  // [rows, groups, dim]
  int64_t x_stride = 0;      // floats from row to row
  // [rows, groups, dim], or null. If given: residual += x, and the norm is that of the sum.
  float* residual = nullptr;
  int64_t residual_stride = 0;
  const float* weight = nullptr;  // [dim]
  float eps = 1e-5f;
  float* out = nullptr;  // [rows, groups, dim]; may be x; null: only the residual is updated
  int64_t out_stride = 0;
  int rows = 0;
  int groups = 1;
  int dim = 0;
};
void RmsNormReference(const RmsNormParams& params);
// Splits rows; every row is computed by one part in one order, so its bits depend on that row only.
void RmsNormCpu(const RmsNormParams& params, int part, int parts);

}  // namespace baton::kernels
