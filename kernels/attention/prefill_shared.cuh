// Parameters and shared memory of the prefill kernel.
#pragma once

#include <cuda.h>
#include <cuda_runtime.h>

#include <cstddef>
#include <cstdint>

#include "kernels/attention/prefill_plan.h"

namespace baton::kernels::cuda {

// Passed by value. Keys and values lie in pages of 16-bit values of the queries' type: the resident
// pages of one layer, or the workspace.
struct PrefillLaunch {
  CUtensorMap q_map;  // [row][query head][dim]; a box: 64 dims, heads_per_tile heads
  CUtensorMap k_map;  // [page][kv head and token][dim]; a box: 64 dims, one page of one head
  CUtensorMap v_map;
  const PrefillTile* tiles = nullptr;  // [tile_count]
  uint32_t* counters = nullptr;  // [2], zero between launches: tiles handed out, blocks finished
  int tile_count = 0;
  int heads_shift = 0;      // log2 of the heads of a tile
  int page_shift = 0;       // log2 of the tokens of a page
  int window = 0;           // 0: all
  float scale_log2 = 0.0f;  // of the scores, times log2(e)
  const void* q = nullptr;  // [rows, q_heads, dim], q_stride elements from row to row
  int64_t q_stride = 0;
  void* out = nullptr;  // [rows, q_heads, dim]
  int64_t out_stride = 0;
  const std::byte* keys = nullptr;  // of page 0, head 0, token 0
  const std::byte* values = nullptr;
  uint64_t page_bytes = 0;
  const PrefillMerge* merges = nullptr;  // [merge_count]
  int merge_count = 0;
  float* sums = nullptr;    // [slot][row of the tile][dim]
  float2* stats = nullptr;  // [slot][row of the tile]: log2 of the maximal weight, sum of weights
};

template <int kDim, int kGroups>
struct PrefillShared {
  static constexpr int kRows = 64 * kGroups;
  static constexpr int kStages = 2;
  static constexpr int kHalves = kDim / 64;  // a row of 128 bytes holds 64 dims
  static constexpr int kQueryHalfBytes = kRows * 128;
  static constexpr int kTokenHalfBytes = kPrefillBlockTokens * 128;
  static constexpr int kOutRowBytes = kDim * 2 + 16;  // padded: no bank conflicts

  alignas(1024) std::byte q[kHalves * kQueryHalfBytes];
  alignas(1024) std::byte k[kStages][kHalves * kTokenHalfBytes];
  alignas(1024) std::byte v[kStages][kHalves * kTokenHalfBytes];
  alignas(16) std::byte out[kGroups * 4][16 * kOutRowBytes];  // 16 rows of each warp
  // By parity of the tile's number; written before q_full. Warpgroups that want the next but one
  // have released the queries of the next, and so are done with this one.
  PrefillTile tiles[2];
  uint64_t q_full;
  uint64_t q_empty;
  uint64_t k_full[kStages];
  uint64_t k_empty[kStages];
  uint64_t v_full[kStages];
  uint64_t v_empty[kStages];
};

// The blocks of tokens of a tile, in ascending order: tiles of one head that run at the same time
// read the same blocks at about the same time.
struct PrefillRange {
  __device__ explicit PrefillRange(const PrefillTile& tile)
      : first(tile.kv_begin / kPrefillBlockTokens), last((tile.kv_end - 1) / kPrefillBlockTokens) {}
  __device__ int count() const { return last - first + 1; }
  __device__ int token(int step) const { return (first + step) * kPrefillBlockTokens; }
  int first;
  int last;
};

}  // namespace baton::kernels::cuda
