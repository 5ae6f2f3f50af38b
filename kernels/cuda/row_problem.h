// Checks that row-wise launch functions share; pure.
#pragma once

#include <cstdint>

namespace baton::kernels::cuda {

inline const char* RowProblem(int rows, int dim, int64_t stride, int max_dim) {
  if (rows < 0) return "rows: expected at least 0";
  if (dim < 8 || dim % 8 != 0) return "dim: expected a positive multiple of 8";
  if (dim > max_dim) return "dim: expected at most 32768";
  if (stride < dim || stride % 8 != 0) return "stride: expected a multiple of 8, at least dim";
  return nullptr;
}

}  // namespace baton::kernels::cuda
