// The loading warp of the prefill kernel: takes tiles from the plan, brings queries, keys and
// values to shared memory.
#pragma once

#include "kernels/attention/prefill_shared.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/tensor_copy.cuh"

namespace baton::kernels::cuda {

// The pages of one block of tokens: lane i < count copies page i.
struct PrefillPages {
  int count = 0;
  int offset = 0;  // tokens from the block's start to this lane's page
  int page = 0;    // this lane's
};

__device__ __forceinline__ PrefillPages FindPages(const PrefillTile& tile, int token,
                                                  int page_shift, int lane) {
  const int begin = max(tile.kv_begin, token) >> page_shift;
  const int end =
      (min(tile.kv_end, token + kPrefillBlockTokens) + (1 << page_shift) - 1) >> page_shift;
  PrefillPages pages;
  pages.count = end - begin;
  pages.offset = ((begin + lane) << page_shift) - token;
  if (lane < pages.count) {
    pages.page = tile.pages ? __ldg(tile.pages + begin + lane) : tile.first_page + begin + lane;
  }
  return pages;
}

template <int kHalves>
__device__ __forceinline__ void CopyTokens(const CUtensorMap& map, const PrefillPages& pages,
                                           int kv_head, int page_shift, std::byte* stage,
                                           uint64_t* full, int lane) {
  constexpr int kHalfBytes = kPrefillBlockTokens * 128;
  if (lane == 0) BarrierArriveExpect(full, (pages.count << page_shift) * 128 * kHalves);
  __syncwarp();
  if (lane < pages.count) {
    const uint32_t shared = SharedAddress(stage) + pages.offset * 128;
#pragma unroll
    for (int half = 0; half < kHalves; ++half) {
      CopyTensor3(shared + half * kHalfBytes, map, half * 64, kv_head << page_shift, pages.page,
                  full);
    }
  }
}

// Keys run one block ahead of values, as they are used. `step` counts blocks over all tiles.
template <typename Shared>
__device__ __forceinline__ void LoadTile(const PrefillLaunch& p, Shared& s, const PrefillTile& tile,
                                         uint32_t& step, int lane) {
  const PrefillRange range(tile);
  PrefillPages pages = FindPages(tile, range.token(0), p.page_shift, lane);
  PrefillPages previous;
  for (int b = 0; b <= range.count(); ++b, ++step) {
    if (b < range.count()) {
      const uint32_t stage = step % Shared::kStages;
      BarrierWait(&s.k_empty[stage], (step / Shared::kStages + 1) & 1);
      CopyTokens<Shared::kHalves>(p.k_map, pages, tile.kv_head, p.page_shift, s.k[stage],
                                  &s.k_full[stage], lane);
    }
    if (b > 0) {
      const uint32_t stage = (step - 1) % Shared::kStages;
      BarrierWait(&s.v_empty[stage], ((step - 1) / Shared::kStages + 1) & 1);
      CopyTokens<Shared::kHalves>(p.v_map, previous, tile.kv_head, p.page_shift, s.v[stage],
                                  &s.v_full[stage], lane);
    }
    previous = pages;
    if (b + 1 < range.count()) pages = FindPages(tile, range.token(b + 1), p.page_shift, lane);
  }
  --step;  // the last round loaded values only
}

template <typename Shared>
__device__ __forceinline__ void LoadTiles(const PrefillLaunch& p, Shared& s, int lane) {
  WaitForPredecessor();
  uint32_t step = 0;
  int index = static_cast<int>(blockIdx.x);
  for (uint32_t round = 0;; ++round) {
    PrefillTile tile;
    if (index < p.tile_count) tile = p.tiles[index];
    BarrierWait(&s.q_empty, (round + 1) & 1);
    if (lane == 0) {
      s.tiles[round & 1] = tile;
      if (tile.queries == 0) {
        BarrierArrive(&s.q_full);
      } else {
        BarrierArriveExpect(&s.q_full, sizeof(s.q));
        for (int half = 0; half < Shared::kHalves; ++half) {
          CopyTensor3(SharedAddress(s.q) + half * Shared::kQueryHalfBytes, p.q_map, half * 64,
                      tile.head, tile.row, &s.q_full);
        }
      }
    }
    if (tile.queries == 0) break;
    int next = 0;
    if (lane == 0) next = static_cast<int>(gridDim.x + atomicAdd(&p.counters[0], 1u));
    LoadTile(p, s, tile, step, lane);
    index = __shfl_sync(0xFFFFFFFFu, next, 0);
  }
  AllowSuccessor();
  // The last block leaves the counters as the next launch wants them.
  if (lane == 0) {
    __threadfence();
    if (atomicAdd(&p.counters[1], 1u) + 1 == gridDim.x) {
      p.counters[0] = 0;
      p.counters[1] = 0;
    }
  }
}

}  // namespace baton::kernels::cuda
