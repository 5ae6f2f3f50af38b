#pragma once

#include <cstdint>
#include <vector>

#include "kernels/attention/attention.h"

namespace baton::kernels {

// Rows of one tile at most: enough that reading a KV block is cheap beside using it, few enough for
// the second-level cache.
inline constexpr int kAttentionTileRows = 128;

// One piece of work: query rows of one sequence that read the same KV head. Rows are counted over
// (query, head in the group): row r is query r / group, query head kv_head * group + r % group.
struct AttentionTile {
  int sequence = 0;
  int kv_head = 0;
  int first = 0;
  int rows = 0;

  friend bool operator==(const AttentionTile&, const AttentionTile&) = default;
};

// The tiles of `part`. Over all parts every row of every sequence appears exactly once; the longest
// tiles are given out first, each to the part with the least work so far.
std::vector<AttentionTile> PlanAttention(const AttentionParams& params, int part, int parts);

}  // namespace baton::kernels
