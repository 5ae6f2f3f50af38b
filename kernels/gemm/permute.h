// Columns of 16-bit activations in another order: what act-order weights multiply. Plain C++.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

namespace baton::kernels::cuda {

struct PermuteColumnsParams {
  int rows = 0;
  int columns = 0;                       // a multiple of 8
  const void* in = nullptr;              // [rows, in_stride] of 16-bit values
  int64_t in_stride = 0;                 // values between rows
  const int32_t* permutation = nullptr;  // [columns]: out[r, j] = in[r, permutation[j]]
  void* out = nullptr;                   // [rows, columns], aligned to 16 bytes
  cudaStream_t stream = nullptr;
};
cudaError_t PermuteColumns(const PermuteColumnsParams& params);

}  // namespace baton::kernels::cuda
