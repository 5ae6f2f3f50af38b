// Reductions of one value per thread, in a fixed order, so that results repeat bit for bit.
#pragma once

#include <cuda_runtime.h>

namespace baton::kernels::cuda {

struct Sum {
  static constexpr float kIdentity = 0.0f;
  __device__ __forceinline__ float operator()(float a, float b) const { return a + b; }
};
// NaN wins, unlike fmaxf's: a NaN anywhere must show in the row's statistics.
struct MaxNan {
  static constexpr float kIdentity = 0.0f;  // of magnitudes
  __device__ __forceinline__ float operator()(float a, float b) const {
    float r;
    asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
    return r;
  }
};

// All lanes get the result.
template <typename Op>
__device__ __forceinline__ float WarpReduce(float value, Op op = {}) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    value = op(value, __shfl_xor_sync(0xFFFFFFFFu, value, offset));
  }
  return value;
}

// All threads of the block (kThreads, a multiple of 32) get the result. `scratch`: kThreads / 32
// floats of shared memory, free again after the next __syncthreads().
template <typename Op, int kThreads>
__device__ __forceinline__ float BlockReduce(float value, float* scratch, Op op = {}) {
  value = WarpReduce<Op>(value);
  if constexpr (kThreads == 32) return value;
  if (threadIdx.x % 32 == 0) scratch[threadIdx.x / 32] = value;
  __syncthreads();
  float total = Op::kIdentity;
#pragma unroll
  for (int warp = 0; warp < kThreads / 32; ++warp) total = op(total, scratch[warp]);
  return total;
}

}  // namespace baton::kernels::cuda
