// RMSNorm on the GPU, with the residual addition before it and FP8 quantization after it in the
// same kernel; plain C++.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/types.h"
#include "kernels/quantize/cuda.h"

namespace baton::kernels::cuda {

// y = x / sqrt(mean(x²) + eps) · weight over each row, computed in fp32. Every output asked for is
// made from the fp32 y: FP8 codes are not rounded twice. Rows of activations are aligned to 16
// bytes; out may be x.
struct RmsNormParams {
  ActivationType type = ActivationType::kFp16;
  const void* x = nullptr;  // [rows, x_stride]
  int64_t x_stride = 0;     // values between rows, a multiple of 8
  // [rows, dim] without gaps, or null. If given: residual ← x + residual, rounded to the type, and
  // the norm is that of the rounded sum.
  void* residual = nullptr;
  const void* weight = nullptr;  // [dim]; read before earlier work in the stream has finished
  float eps = 1e-5f;
  void* out = nullptr;  // [rows, dim] without gaps, or null
  Fp8Rows fp8;          // codes null: none
  int rows = 0;
  int dim = 0;  // a multiple of 8, at most kMaxQuantizedRow
  cudaStream_t stream = nullptr;
};
const char* RmsNormProblem(const RmsNormParams& params);
cudaError_t RmsNorm(const RmsNormParams& params);

}  // namespace baton::kernels::cuda
