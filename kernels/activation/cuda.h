// SwiGLU on the GPU, with FP8 quantization in the same kernel if asked for; plain C++.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/types.h"
#include "kernels/quantize/cuda.h"

namespace baton::kernels::cuda {

// y = silu(gate) · up in fp32, silu(g) = g / (1 + exp(-g)). Exactly one of out and fp8 is given;
// FP8 codes are made from the fp32 y. gate and up may be halves of one matrix [rows, 2 · dim].
struct SwiGluParams {
  ActivationType type = ActivationType::kFp16;
  const void* gate = nullptr;  // [rows, in_stride], aligned to 16 bytes
  const void* up = nullptr;    // [rows, in_stride], aligned to 16 bytes
  int64_t in_stride = 0;       // values between rows of both, a multiple of 8
  void* out = nullptr;         // [rows, dim] without gaps
  Fp8Rows fp8;                 // [rows, dim]
  int rows = 0;
  int dim = 0;  // a multiple of 8; at most kMaxQuantizedRow
  cudaStream_t stream = nullptr;
};
const char* SwiGluProblem(const SwiGluParams& params);
cudaError_t SwiGlu(const SwiGluParams& params);

}  // namespace baton::kernels::cuda
