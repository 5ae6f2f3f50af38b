// One row in the registers of one block, to FP8. Thread t holds the 16-byte vectors t, t + kThreads
// … of the row; `vectors` = dim / 8.
#pragma once

#include "kernels/cuda/numeric.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/quantize/cuda.h"

namespace baton::kernels::cuda {

// x / scale with IEEE rounding, for many x of one scale: two Newton steps on the quotient instead
// of a division each. Valid where neither the scale's reciprocal nor the remainders leave the
// normal range, else it divides.
struct Quotient {
  float scale;
  float reciprocal;
  bool plain;

  static __device__ __forceinline__ Quotient By(float s) {
    return {s, __frcp_rn(s), !(s > 0x1p-60f && s < 0x1p60f)};
  }
  __device__ __forceinline__ float operator()(float x) const {
    if (plain) return __fdiv_rn(x, scale);
    float q = __fmul_rn(x, reciprocal);
    q = __fmaf_rn(__fmaf_rn(-q, scale, x), reciprocal, q);
    q = __fmaf_rn(__fmaf_rn(-q, scale, x), reciprocal, q);
    return copysignf(q, x);  // of a negative zero too; the scale is positive
  }
};

// Quantizes the row and writes codes [dim] and *scale. `scratch`: kThreads / 32 floats that no
// thread still reads. Values of vectors at and after `vectors` are ignored.
template <int kThreads, int kVectors>
__device__ __forceinline__ void StoreFp8Row(const float (&x)[kVectors][8], int vectors,
                                            uint8_t* codes, float* scale, float* scratch) {
  float amax = 0.0f;
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    if (threadIdx.x + i * kThreads >= vectors) break;
#pragma unroll
    for (int j = 0; j < 8; ++j) amax = MaxNan()(amax, fabsf(x[i][j]));
  }
  amax = BlockReduce<MaxNan, kThreads>(amax, scratch);
  const bool finite = IsFinite(amax);
  const float s = finite ? __fdiv_rn(amax, 448.0f) : __uint_as_float(0x7FC00000u);
  if (threadIdx.x == 0) *scale = s;
  const bool coded = finite && s > 0.0f;
  const Quotient quotient = Quotient::By(s);
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const int vector = threadIdx.x + i * kThreads;
    if (vector >= vectors) break;
    uint2 packed = make_uint2(0, 0);
    if (coded) {
      float q[8];
#pragma unroll
      for (int j = 0; j < 8; ++j) q[j] = quotient(x[i][j]);
      packed.x = E4m3x4FromFloat(q[0], q[1], q[2], q[3]);
      packed.y = E4m3x4FromFloat(q[4], q[5], q[6], q[7]);
    }
    reinterpret_cast<uint2*>(codes)[vector] = packed;
  }
}

}  // namespace baton::kernels::cuda
