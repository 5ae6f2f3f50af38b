// Matrix products out[M,N] = A[M,K] · W[N,K]ᵀ + bias[N] on the GPU; plain C++.
//
// Nothing here allocates or synchronizes, and everything can be captured into a CUDA graph.
// Pointers are device memory aligned to 16 bytes; N and K are multiples of 64. A launch function
// returns cudaErrorInvalidValue for what its ...Problem function names, else what the launch
// returned.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/types.h"

namespace baton::kernels::cuda {

class CublasLt;  // cublaslt.h

// --- 16-bit weights, by cuBLASLt -----------------------------------------------------------------

struct GemmF16Params {
  int m = 0;
  int n = 0;
  int k = 0;
  ActivationType type = ActivationType::kFp16;  // of everything; accumulation is fp32
  const void* a = nullptr;                      // [M, lda]
  int64_t lda = 0;                              // values between rows of a, a multiple of 8
  const void* w = nullptr;                      // [N, K]
  const void* bias = nullptr;                   // [N] or null
  void* out = nullptr;                          // [M, ldo]
  int64_t ldo = 0;                              // values between rows of out, a multiple of 8
  cudaStream_t stream = nullptr;
};
// Why the shape is refused; null if it is not.
const char* GemmF16Problem(const GemmF16Params& params);
cudaError_t GemmF16(CublasLt& lt, const GemmF16Params& params);

// --- FP8 weights × FP8 activations
// ----------------------------------------------------------------

// kFastAccum: the tensor core's own accumulator over all of K (about 14 bits of fraction). kExact:
// promoted to fp32 at short intervals of K.
enum class Fp8Mode : uint8_t { kFastAccum, kExact };

// out = a_scale[m] · w_scale[n] · Σ a[m,k] · w[n,k] + bias[n].
struct GemmFp8Params {
  int m = 0;
  int n = 0;
  int k = 0;
  Fp8Mode mode = Fp8Mode::kFastAccum;
  const uint8_t* a = nullptr;                   // [M, K] e4m3
  const float* a_scale = nullptr;               // [M]; NaN makes the row NaN
  const uint8_t* w = nullptr;                   // [N, K] e4m3
  const float* w_scale = nullptr;               // [N]
  const void* bias = nullptr;                   // [N] of `type`, or null
  ActivationType type = ActivationType::kFp16;  // of out and bias
  void* out = nullptr;                          // [M, ldo]
  int64_t ldo = 0;                              // values between rows of out, a multiple of 8
  cudaStream_t stream = nullptr;
};
const char* GemmFp8Problem(const GemmFp8Params& params);
// By cuBLASLt's outer-vector scaling: for M above the small-M kernel's reach.
cudaError_t GemmFp8Large(CublasLt& lt, const GemmFp8Params& params);

}  // namespace baton::kernels::cuda
