#include "kernels/attention/plan.h"

#include <algorithm>

namespace baton::kernels {
namespace {

struct CostedTile {
  AttentionTile tile;
  int64_t cost = 0;
};

// Reading and converting a KV token costs about as much as using it in this many rows.
constexpr int64_t kReadCost = 16;

int64_t Cost(const AttentionParams& params, const AttentionTile& tile, int group) {
  const PagedSequence& sequence = params.sequences[tile.sequence];
  const int64_t last = sequence.first_position + (tile.first + tile.rows - 1) / group;
  const int64_t tokens = params.window > 0 ? std::min<int64_t>(last + 1, params.window) : last + 1;
  return tokens * (tile.rows + kReadCost);
}

}  // namespace

std::vector<AttentionTile> PlanAttention(const AttentionParams& params, int part, int parts) {
  const int kv_heads = params.kv.layout.geometry().kv_heads;
  const int group = params.q_heads / kv_heads;
  std::vector<CostedTile> all;
  for (int s = 0; s < static_cast<int>(params.sequences.size()); ++s) {
    const int rows = params.sequences[s].rows * group;
    for (int head = 0; head < kv_heads; ++head) {
      for (int first = 0; first < rows; first += kAttentionTileRows) {
        const AttentionTile tile{s, head, first, std::min(kAttentionTileRows, rows - first)};
        all.push_back({tile, Cost(params, tile, group)});
      }
    }
  }
  std::stable_sort(all.begin(), all.end(),
                   [](const CostedTile& a, const CostedTile& b) { return a.cost > b.cost; });
  std::vector<int64_t> load(parts, 0);
  std::vector<AttentionTile> mine;
  for (const CostedTile& costed : all) {
    const auto least = std::min_element(load.begin(), load.end());
    *least += costed.cost;
    if (least - load.begin() == part) mine.push_back(costed.tile);
  }
  return mine;
}

}  // namespace baton::kernels
