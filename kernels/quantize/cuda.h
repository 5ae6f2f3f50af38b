// Per-token FP8 quantization on the GPU; plain C++.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/types.h"

namespace baton::kernels::cuda {

// The widest row that the kernels which quantize rows hold in registers.
inline constexpr int kMaxQuantizedRow = 32768;

// Where a row-wise kernel writes FP8 (kernels/quantize/fp8.h). codes null: nothing is written.
struct Fp8Rows {
  uint8_t* codes = nullptr;  // [rows, dim] e4m3, without gaps
  float* scale = nullptr;    // [rows]
};

// Attention output, or any activations, to FP8: the same bits as QuantizeRowsFp8Reference.
struct QuantizeFp8RowsParams {
  ActivationType type = ActivationType::kFp16;
  const void* x = nullptr;  // [rows, x_stride], aligned to 16 bytes
  int64_t x_stride = 0;     // values between rows, a multiple of 8
  Fp8Rows out;
  int rows = 0;
  int dim = 0;  // a multiple of 8, at most kMaxQuantizedRow
  cudaStream_t stream = nullptr;
};
const char* QuantizeFp8RowsProblem(const QuantizeFp8RowsParams& params);
cudaError_t QuantizeFp8Rows(const QuantizeFp8RowsParams& params);

}  // namespace baton::kernels::cuda
