// How a ragged batch of prefill attention is cut into tiles, and in which order they run: pure host
// code. The plan is made once a step, copied to the device, and used by every layer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "kernels/kv_page/layout.h"

namespace baton::kernels::cuda {

// Tokens of one step of the online softmax; also the page size of gathered keys and values.
inline constexpr int kPrefillBlockTokens = 128;

// Work of one thread block at a time: `queries` consecutive queries of one sequence, for
// `heads_per_tile` query heads that share a KV head. Row r of a tile is query r / heads_per_tile,
// head head + r % heads_per_tile.
struct alignas(16) PrefillTile {
  const int32_t* pages = nullptr;  // in device memory: page of token t is pages[t / page_tokens];
                                   // null: first_page + t / page_tokens
  int32_t first_page = 0;
  int32_t position = 0;  // of the first query
  int32_t queries = 0;   // 0: no tile (the kernel's end mark)
  int32_t row = 0;       // of the first query, in the matrices of queries and results
  int32_t head = 0;      // first query head
  int32_t kv_head = 0;
  int32_t kv_begin = 0;  // first token read, a multiple of the page size
  int32_t kv_end = 0;    // one past the last token seen
  int32_t slot = -1;     // of the workspace, for a part of a tile's tokens; -1: all of them
};
static_assert(sizeof(PrefillTile) == 48);

// A tile whose tokens were split: its parts are merged, in order, by a launch of its own.
struct PrefillMerge {
  PrefillTile tile;  // the whole
  int32_t first_slot = 0;
  int32_t parts = 0;
};
static_assert(sizeof(PrefillMerge) == 64);

// Tokens [begin, end) of one sequence, inside one block of kPrefillBlockTokens, that are
// dequantized to page `page` of the workspace. Tokens of the block outside of the range become 0.
struct alignas(16) PrefillGather {
  const int32_t* pages = nullptr;  // in device memory
  int32_t begin = 0;
  int32_t end = 0;
  int32_t page = 0;
};
static_assert(sizeof(PrefillGather) == 32);

struct PrefillShape {
  int q_heads = 0;  // a multiple of kv_heads
  int kv_heads = 0;
  int head_dim = 0;       // 64 or 128
  int page_tokens = 0;    // of the resident pages
  int window = 0;         // tokens seen, the query's own included; 0: all
  bool gathered = false;  // keys and values are read from the workspace, not from the pages
};

// What the plan depends on of the device.
struct PrefillDevice {
  int sm_count = 132;
  size_t l2_bytes = 50 << 20;
};

struct PrefillPlan {
  PrefillShape shape;
  int rows = 0;                        // of the matrices: one past the last row of the batch
  int heads_per_tile = 1;              // a power of two that divides q_heads / kv_heads
  std::vector<PrefillTile> tiles;      // in the order they are handed out
  std::vector<PrefillMerge> merges;    // of the tiles that are split
  std::vector<PrefillGather> gathers;  // empty unless shape.gathered
  int slots = 0;                       // parts of all merges

  // The image of the plan in device memory: counters (zero), then the three lists.
  static constexpr size_t kCounterBytes = 16;
  size_t TilesOffset() const { return kCounterBytes; }
  size_t MergesOffset() const { return TilesOffset() + tiles.size() * sizeof(PrefillTile); }
  size_t GathersOffset() const { return MergesOffset() + merges.size() * sizeof(PrefillMerge); }
  size_t ImageBytes() const { return GathersOffset() + gathers.size() * sizeof(PrefillGather); }
  void WriteImage(std::byte* image) const;

  // The workspace of the launch: keys and values of the gathered tokens in 16 bits; sums of the
  // slots [slot][row of the tile][head_dim] and their {log2 of the maximum, sum of weights}
  // [slot][row][2], fp32.
  size_t SumsOffset() const;
  size_t StatsOffset() const;
  size_t WorkspaceBytes() const;
};

// Rows (queries x heads) of a tile.
constexpr int PrefillTileRows(int head_dim) { return head_dim == 64 ? 192 : 128; }

// What of the shape the kernels do not do (names field, value, expectation), or nothing.
std::optional<std::string> PrefillProblem(const PrefillShape& shape);

// Whether `gathered` is faster although pages could be read in place: pages of 16 tokens take many
// small copies, and that shows once each block of tokens is read often. On an H100 it is 7 % for
// 8192 tokens with 4 query heads a KV head, and nothing for 2048. Ignores shape.gathered.
bool PrefillGatherPays(const PrefillShape& shape, std::span<const PagedSequence> sequences);

// Precondition: no PrefillProblem; the rows of the sequences do not overlap. `pages` of the
// sequences are device pointers: they are copied, not read.
PrefillPlan PlanPrefill(const PrefillShape& shape, std::span<const PagedSequence> sequences,
                        const PrefillDevice& device);

}  // namespace baton::kernels::cuda
