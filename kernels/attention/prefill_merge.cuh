// Merges the parts of tiles whose tokens were split, in ascending order.
#pragma once

#include "kernels/attention/prefill_exact.cuh"
#include "kernels/attention/prefill_shared.cuh"
#include "kernels/cuda/ptx.cuh"

namespace baton::kernels::cuda {

inline constexpr int kMergeRows = 4;  // of a block, a warp each

// Grid: (merges, rows of a tile / kMergeRows).
template <typename T, int kDim>
__global__ void __launch_bounds__(kMergeRows * 32)
    PrefillMergeKernel(const __grid_constant__ PrefillLaunch p) {
  WaitForPredecessor();
  AllowSuccessor();
  constexpr int kRows = PrefillTileRows(kDim);
  constexpr int kEach = kDim / 32;  // dims of a lane
  const PrefillMerge merge = p.merges[blockIdx.x];
  const int lane = static_cast<int>(threadIdx.x) % 32;
  const int r = static_cast<int>(blockIdx.y * kMergeRows + threadIdx.x / 32);
  const int query = r >> p.heads_shift;
  if (query >= merge.tile.queries) return;
  const int64_t first = static_cast<int64_t>(merge.first_slot) * kRows + r;
  float top = -INFINITY;
  for (int i = 0; i < merge.parts; ++i) {
    top = fmaxf(top, p.stats[first + static_cast<int64_t>(i) * kRows].x);
  }
  float total = 0.0f;
  float sum[kEach] = {};
  for (int i = 0; i < merge.parts; ++i) {
    const int64_t place = first + static_cast<int64_t>(i) * kRows;
    const float2 stats = p.stats[place];
    const float factor = Exp2(stats.x - top);
    total = fmaf(factor, stats.y, total);
    const float2* line = reinterpret_cast<const float2*>(p.sums + place * kDim + lane * kEach);
#pragma unroll
    for (int j = 0; j < kEach / 2; ++j) {
      const float2 pair = line[j];
      sum[2 * j] = fmaf(factor, pair.x, sum[2 * j]);
      sum[2 * j + 1] = fmaf(factor, pair.y, sum[2 * j + 1]);
    }
  }
  const int head = merge.tile.head + r - (query << p.heads_shift);
  uint32_t* out = reinterpret_cast<uint32_t*>(static_cast<typename T::Value*>(p.out) +
                                              (merge.tile.row + query) * p.out_stride +
                                              head * kDim + lane * kEach);
  bool finite = true;
#pragma unroll
  for (int j = 0; j < kEach / 2; ++j) {
    const float a = sum[2 * j] / total;
    const float b = sum[2 * j + 1] / total;
    finite &= IsFinite(a) && IsFinite(b);
    out[j] = T::FromFloat2(a, b);
  }
  if (__any_sync(0xFFFFFFFFu, !finite && total == total)) {
    ExactRow<T, kDim>{p, merge.tile, lane}.Compute(r);
  }
}

}  // namespace baton::kernels::cuda
