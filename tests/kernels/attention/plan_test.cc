#include "kernels/attention/plan.h"

#include <map>
#include <tuple>
#include <vector>

#include "gtest/gtest.h"

namespace baton::kernels {
namespace {

AttentionParams Params(const std::vector<PagedSequence>& sequences) {
  AttentionParams params;
  params.q_heads = 6;
  params.kv.layout = KvPageLayout({1, 2, 64}, {}, 16);
  params.sequences = sequences;
  return params;
}

TEST(PlanAttentionTest, EveryRowOnce) {
  const std::vector<PagedSequence> sequences = {
      {nullptr, 0, 300, 0}, {nullptr, 7, 1, 300}, {nullptr, 0, 0, 301}, {nullptr, 100, 43, 301}};
  const AttentionParams params = Params(sequences);
  for (const int parts : {1, 2, 3, 8, 100}) {
    std::map<std::tuple<int, int, int>, int> seen;
    for (int part = 0; part < parts; ++part) {
      for (const AttentionTile& tile : PlanAttention(params, part, parts)) {
        EXPECT_GT(tile.rows, 0);
        EXPECT_LE(tile.rows, kAttentionTileRows);
        for (int r = tile.first; r < tile.first + tile.rows; ++r) {
          ++seen[{tile.sequence, tile.kv_head, r}];
        }
      }
    }
    EXPECT_EQ(seen.size(), (300u + 1 + 43) * 3 * 2);  // group of 3 query heads, 2 KV heads
    for (const auto& [row, count] : seen) EXPECT_EQ(count, 1);
  }
}

TEST(PlanAttentionTest, PartsGetSimilarWork) {
  const std::vector<PagedSequence> sequences = {{nullptr, 0, 512, 0}};
  const AttentionParams params = Params(sequences);
  int64_t work[2] = {0, 0};
  for (int part = 0; part < 2; ++part) {
    for (const AttentionTile& tile : PlanAttention(params, part, 2)) {
      work[part] += static_cast<int64_t>(tile.rows) * (tile.first / 3 + tile.rows / 3);
    }
  }
  EXPECT_NEAR(static_cast<double>(work[0]) / static_cast<double>(work[1]), 1.0, 0.1);
}

}  // namespace
}  // namespace baton::kernels
