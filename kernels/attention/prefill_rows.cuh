// What one warpgroup of the prefill kernel does with its 64 rows: scores, online softmax, weighted
// sum. The layout of a thread's values is that of wgmma accumulators (wgmma.cuh): two rows, 8
// apart.
#pragma once

#include <cmath>
#include <cstdint>

#include "kernels/attention/prefill_shared.cuh"
#include "kernels/attention/wgmma.cuh"

namespace baton::kernels::cuda {

__device__ __forceinline__ float Exp2(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x));
  return y;
}

// Over the four lanes that share a row.
__device__ __forceinline__ float QuadMax(float x) {
  x = fmaxf(x, __shfl_xor_sync(0xFFFFFFFFu, x, 1));
  return fmaxf(x, __shfl_xor_sync(0xFFFFFFFFu, x, 2));
}
__device__ __forceinline__ float QuadSum(float x) {
  x += __shfl_xor_sync(0xFFFFFFFFu, x, 1);
  return x + __shfl_xor_sync(0xFFFFFFFFu, x, 2);
}

template <typename T, int kDim>
struct PrefillRows {
  float out[kDim / 2];  // sum of weight times value so far
  float score[64];      // of the block; after Softmax its weights
  uint32_t weight[32];  // the same in 16 bits, as the A operand
  float max[2];         // of the scores so far, unscaled
  float sum[2];         // of the weights so far, this lane's columns only
  float factor[2];      // what the latest block multiplies earlier sums with

  // Asynchronous: score = q kᵀ. Shared addresses: of this warpgroup's rows, of the block's keys;
  // `q_half_bytes` between the halves of 64 dims of the queries.
  __device__ __forceinline__ void StartScores(uint32_t q, uint32_t q_half_bytes, uint32_t k) {
    FenceRegisters(score);
    WgmmaFence();
#pragma unroll
    for (int i = 0; i < kDim / 16; ++i) {
      const uint32_t half = i / 4;
      const uint32_t step = i % 4 * 32;
      Scores(T{}, score, RowsDescriptor(q + half * q_half_bytes + step),
             RowsDescriptor(k + half * kPrefillBlockTokens * 128 + step), i != 0);
    }
    WgmmaCommit();
    FenceRegisters(score);
  }

  // Asynchronous: out += weight v, or = for the first block.
  __device__ __forceinline__ void StartValues(uint32_t v, bool first) {
    FenceRegisters(out);
    FenceRegisters(weight);
    WgmmaFence();
#pragma unroll
    for (int i = 0; i < kPrefillBlockTokens / 16; ++i) {
      Values(T{}, out, weight + 4 * i,
             ColumnsDescriptor(v + i * 16 * 128, kPrefillBlockTokens * 128), i != 0 || !first);
    }
    WgmmaCommit();
    FenceRegisters(out);
  }

  // Scores of tokens outside of [left, right] (counted from the block's start) of the thread's two
  // rows become -inf.
  __device__ __forceinline__ void Mask(const int (&left)[2], const int (&right)[2], int lane) {
#pragma unroll
    for (int i = 0; i < 64; ++i) {
      const int token = i / 4 * 8 + lane % 4 * 2 + i % 2;
      const int row = i / 2 % 2;
      if (token < left[row] || token > right[row]) score[i] = -INFINITY;
    }
  }

  // Weights 2^(scale_log2 (score - max)), their sum, and `factor`.
  template <bool kFirst>
  __device__ __forceinline__ void Softmax(float scale_log2) {
#pragma unroll
    for (int row = 0; row < 2; ++row) {
      float top = kFirst ? -INFINITY : max[row];
      const float before = top;
#pragma unroll
      for (int i = 0; i < 64; i += 4) {
        top = fmaxf(top, fmaxf(score[i + 2 * row], score[i + 2 * row + 1]));
      }
      top = QuadMax(top);
      max[row] = top;
      // A row that has seen nothing yet: weights 0, not NaN.
      const float base = top == -INFINITY ? 0.0f : top * scale_log2;
      factor[row] = kFirst ? 0.0f : Exp2(fmaf(before, scale_log2, -base));
      float total[2] = {0.0f, 0.0f};
#pragma unroll
      for (int i = 0; i < 64; i += 4) {
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float& x = score[i + 2 * row + e];
          x = Exp2(fmaf(x, scale_log2, -base));
          total[e] += x;
        }
      }
      const float added = total[0] + total[1];
      sum[row] = kFirst ? added : fmaf(sum[row], factor[row], added);
    }
  }

  __device__ __forceinline__ void PackWeights() {
#pragma unroll
    for (int i = 0; i < 32; ++i) weight[i] = T::FromFloat2(score[2 * i], score[2 * i + 1]);
  }

  __device__ __forceinline__ void Rescale() {
#pragma unroll
    for (int i = 0; i < kDim / 2; ++i) out[i] *= factor[i / 2 % 2];
  }
};

}  // namespace baton::kernels::cuda
