// Matrix products out[M,N] = A[M,K] · W[N,K]ᵀ + bias[N] of all weight schemes.
//
// For one dispatch target the bits of an output row depend on that row of A alone: not on M, the
// row's position or the number of parts. Each output accumulates over K in ascending order.
#pragma once

#include <cstdint>

#include "kernels/gemm/packed_weight.h"
#include "kernels/quantize/quantize.h"

namespace baton::kernels {

// Nothing is owned; everything must outlive the call. `out` may not overlap an input.
struct GemmParams {
  int64_t m = 0;
  const float* a = nullptr;  // [M, K]; schemes with fp32 activations
  int64_t lda = 0;           // values between rows of a
  QuantizedRows quantized;   // [M, K]; kW8A8, kW4A8, kW8A8Fp8
  const PackedWeight* w = nullptr;
  const float* bias = nullptr;  // [N] or null
  float* out = nullptr;         // [M, N]
  int64_t ldo = 0;              // values between rows of out
};

// Scalar and obvious.
void GemmReference(const GemmParams& params);

// The share of `part` of the whole product; all parts together write every element of out once.
// Splits N, or M where N is too small, never K. Stateless: any thread may run any part.
void GemmCpu(const GemmParams& params, int part, int parts);

// The vector target that GemmCpu runs on this machine ("AVX3_DL", "AVX2" …).
const char* DispatchTarget();

}  // namespace baton::kernels
