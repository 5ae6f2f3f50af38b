// Matrix products out[M,N] = A[M,K] · W[N,K]ᵀ + bias[N] on the GPU; plain C++.
//
// Nothing here allocates or synchronizes, and everything can be captured into a CUDA graph.
// Pointers are device memory aligned to 16 bytes; N and K are multiples of 64. A launch function
// returns cudaErrorInvalidValue for what its ...Problem function names, else what the launch
// returned.
//
// GemmW4A16 and GemmFp8Small read weights and the permutation ahead of the work before them in the
// stream: a kernel right before must not write those. Everything else is read in stream order.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/types.h"
#include "kernels/gemm/int4_tiles.h"

namespace baton::kernels::cuda {

class CublasLt;     // cublaslt.h
struct GemmChoice;  // config.h

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

// For M up to 128 (kFp8SmallMaxTokens), by our own kernel. `sm_count`: DeviceTraits::sm_count. The
// accumulation of kExact is promoted every 128 of K.
const char* GemmFp8SmallProblem(const GemmFp8Params& params, int sm_count);
cudaError_t GemmFp8Small(const GemmFp8Params& params, int sm_count);
// The same as `choice` says, for tuning: cudaErrorInvalidValue if it cannot serve the size.
cudaError_t GemmFp8SmallWith(const GemmFp8Params& params, int sm_count, const GemmChoice& choice);
// Whichever of the two serves M.
cudaError_t GemmFp8(CublasLt& lt, const GemmFp8Params& params, int sm_count);

// --- INT4 weights × 16-bit activations -----------------------------------------------------------

// out[m,n] = Σ_k a[m, k] · scale · (code - zero) + bias[n]; accumulation is fp32. For few tokens
// the sum of each group is scaled in fp32; for many (the choice's kernel is kW4A16Large) each
// weight is rounded to the activations' type first, and so is its scale where it is of the other
// type.
struct GemmW4A16Params {
  int m = 0;
  Int4TileLayout layout;                        // N, K and the form of the weights
  const uint8_t* tiles = nullptr;               // layout.bytes() bytes
  ActivationType type = ActivationType::kFp16;  // of a, bias and out
  const void* a = nullptr;                      // [M, lda]
  int64_t lda = 0;                              // values between rows of a, a multiple of 8
  // [K] or null: column j of the weights multiplies a[:, permutation[j]] (act-order).
  const int32_t* permutation = nullptr;
  const void* bias = nullptr;  // [N] or null
  void* out = nullptr;         // [M, ldo]
  int64_t ldo = 0;             // values between rows of out, a multiple of 8
  void* workspace = nullptr;   // GemmW4A16Workspace(params) bytes, not shared with other streams
  size_t workspace_bytes = 0;
  int sm_count = 0;  // DeviceTraits::sm_count
  cudaStream_t stream = nullptr;
};
// Why the shape is refused; null if it is not.
const char* GemmW4A16Problem(const GemmW4A16Params& params);
size_t GemmW4A16Workspace(const GemmW4A16Params& params);
cudaError_t GemmW4A16(const GemmW4A16Params& params);
// The same as `choice` says, for tuning: cudaErrorInvalidValue if it cannot serve the size.
cudaError_t GemmW4A16With(const GemmW4A16Params& params, const GemmChoice& choice);

}  // namespace baton::kernels::cuda
