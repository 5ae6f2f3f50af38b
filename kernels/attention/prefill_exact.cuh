// Rows whose result is not finite, once more and slowly: a product with weight 0 turns a NaN or an
// infinity of a masked value into NaN, although a masked token has no influence.
#pragma once

#include "kernels/attention/prefill_rows.cuh"
#include "kernels/attention/prefill_shared.cuh"
#include "kernels/cuda/reduce.cuh"

namespace baton::kernels::cuda {

template <typename T, int kDim>
struct ExactRow {
  static constexpr int kEach = kDim / 32;  // dims of a lane
  const PrefillLaunch& p;
  const PrefillTile& tile;
  int lane;
  float q[kEach];

  __device__ __forceinline__ void Read(const void* row, float (&x)[kEach]) const {
    const uint32_t* words = static_cast<const uint32_t*>(row) + lane * (kEach / 2);
#pragma unroll
    for (int i = 0; i < kEach / 2; ++i) {
      const float2 pair = T::ToFloat2(words[i]);
      x[2 * i] = pair.x;
      x[2 * i + 1] = pair.y;
    }
  }

  __device__ __forceinline__ void ReadToken(const std::byte* base, int token,
                                            float (&x)[kEach]) const {
    const int index = token >> p.page_shift;
    const int page = tile.pages ? tile.pages[index] : tile.first_page + index;
    const int place = (tile.kv_head << p.page_shift) + token - (index << p.page_shift);
    Read(base + page * p.page_bytes + static_cast<int64_t>(place) * (kDim * 2), x);
  }

  __device__ __forceinline__ float ScoreLog2(int token) const {
    float k[kEach];
    ReadToken(p.keys, token, k);
    float sum = 0.0f;
#pragma unroll
    for (int i = 0; i < kEach; ++i) sum = fmaf(q[i], k[i], sum);
    return WarpReduce<Sum>(sum) * p.scale_log2;
  }

  // The whole warp computes row `r` of the tile.
  __device__ void Compute(int r) {
    const int query = r >> p.heads_shift;
    const int head = tile.head + r - (query << p.heads_shift);
    const int position = tile.position + query;
    const int begin = p.window > 0 ? max(0, position - p.window + 1) : 0;
    const int64_t row = tile.row + query;
    Read(static_cast<const typename T::Value*>(p.q) + row * p.q_stride + head * kDim, q);
    float top = -INFINITY;
    for (int t = begin; t <= position; ++t) top = fmaxf(top, ScoreLog2(t));
    float total = 0.0f;
    float sum[kEach] = {};
    for (int t = begin; t <= position; ++t) {
      const float weight = Exp2(ScoreLog2(t) - top);
      float v[kEach];
      ReadToken(p.values, t, v);
      total += weight;
#pragma unroll
      for (int i = 0; i < kEach; ++i) sum[i] = fmaf(weight, v[i], sum[i]);
    }
    uint32_t* out = reinterpret_cast<uint32_t*>(static_cast<typename T::Value*>(p.out) +
                                                row * p.out_stride + head * kDim) +
                    lane * (kEach / 2);
#pragma unroll
    for (int i = 0; i < kEach / 2; ++i) {
      out[i] = T::FromFloat2(sum[2 * i] / total, sum[2 * i + 1] / total);
    }
  }
};

}  // namespace baton::kernels::cuda
