// A tile of fp32 sums in shared memory, [tokens][rows + 4]: written from wgmma accumulators, added
// up over the blocks of a cluster in the order of their ranks, stored in coalesced pieces.
#pragma once

#include <cstdint>

#include "kernels/gemm/tensor_copy.cuh"

namespace baton::kernels::cuda {

struct RingPosition {
  int stage = 0;
  uint32_t parity = 0;
  __device__ void Next(int stages) {
    if (++stage == stages) stage = 0, parity ^= 1;
  }
};

template <int kRows, int kTokens, int kParts = 1>
struct TileSums {
  static constexpr int kPitch = kRows + 4;  // floats of a token: no bank conflicts in Write
  static constexpr int kPartFloats = kTokens * kPitch;
  static constexpr int kBytes = kParts * kPartFloats * 4;
  static constexpr int kRanksAtOnce = 4;

  static __device__ __forceinline__ void Add(float4& sum, const float4& x) {
    sum.x += x.x, sum.y += x.y, sum.z += x.z, sum.w += x.w;
  }

  // The accumulators of a warpgroup (wgmma.cuh) for rows first_row … first_row + 63 of part `part`;
  // only the first `tokens` of them.
  template <int kCount>
  static __device__ __forceinline__ void Write(float* sums, const float (&d)[kCount], int part,
                                               int first_row, int tokens) {
    float* at =
        sums + part * kPartFloats + first_row + threadIdx.x / 32 % 4 * 16 + threadIdx.x % 32 / 4;
#pragma unroll
    for (int i = 0; i < kCount; ++i) {
      const int token = i / 4 * 8 + threadIdx.x % 4 * 2 + i % 2;
      if (token < tokens) at[token * kPitch + i / 2 % 2 * 8] = d[i];
    }
  }

  // This block's share of the tile: calls store(token, row, four sums of neighbouring rows), each
  // added up over the parts of rank 0, then of rank 1 and so on. All of `threads` take part; the
  // blocks' writes are visible.
  template <typename Store>
  static __device__ __forceinline__ void ForEachSum(const float* sums, int tokens, int split,
                                                    int rank, int threads, Store store) {
    constexpr int kQuads = kRows / 4;
    for (int e = rank * threads + threadIdx.x; e < tokens * kQuads; e += split * threads) {
      const float* at = sums + e / kQuads * kPitch + e % kQuads * 4;
      float4 sum = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
      if (split == 1) {
#pragma unroll
        for (int part = 0; part < kParts; ++part) {
          Add(sum, *reinterpret_cast<const float4*>(at + part * kPartFloats));
        }
      }
      // Loads from other blocks take long: several at a time.
      for (int first = 0; first < split && split > 1; first += kRanksAtOnce) {
        float4 x[kRanksAtOnce][kParts];
#pragma unroll
        for (int r = 0; r < kRanksAtOnce; ++r) {
#pragma unroll
          for (int part = 0; part < kParts; ++part) {
            x[r][part] = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
            if (first + r < split) x[r][part] = LoadRemote4(at + part * kPartFloats, first + r);
          }
        }
#pragma unroll
        for (int r = 0; r < kRanksAtOnce; ++r) {
#pragma unroll
          for (int part = 0; part < kParts; ++part) Add(sum, x[r][part]);
        }
      }
      store(e / kQuads, e % kQuads * 4, sum);
    }
  }
};

}  // namespace baton::kernels::cuda
