#include "kernels/attention/prefill_plan.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace baton::kernels::cuda {
namespace {

constexpr size_t kL2 = 50 << 20;

PrefillShape Shape(int head_dim = 128) {
  return {.q_heads = 8, .kv_heads = 2, .head_dim = head_dim, .page_tokens = 16};
}

int Blocks(const PrefillTile& tile) {
  return (tile.kv_end + kPrefillBlockTokens - 1) / kPrefillBlockTokens -
         tile.kv_begin / kPrefillBlockTokens;
}

TEST(PlanPrefillTest, EveryRowAndHeadOnce) {
  const int32_t pages[2] = {};  // stands for device memory
  const std::vector<PagedSequence> sequences = {
      {pages, 0, 300, 5}, {pages, 7, 1, 305}, {pages, 9, 0, 306}, {pages + 1, 1000, 193, 306}};
  for (const int head_dim : {64, 128}) {
    for (const int window : {0, 1, 100}) {
      for (const bool gathered : {false, true}) {
        PrefillShape shape = Shape(head_dim);
        shape.window = window;
        shape.gathered = gathered;
        const PrefillPlan plan = PlanPrefill(shape, sequences, kL2);
        EXPECT_EQ(plan.rows, 499);
        std::map<std::pair<int, int>, int> seen;
        for (const PrefillTile& tile : plan.tiles) {
          EXPECT_EQ(tile.kv_head, tile.head / 4);
          EXPECT_LE(tile.queries * plan.heads_per_tile, PrefillTileRows(head_dim));
          EXPECT_EQ(tile.kv_end, tile.position + tile.queries);
          const int first = window > 0 ? std::max(0, tile.position - window + 1) : 0;
          EXPECT_EQ(tile.kv_begin, first - first % (gathered ? 128 : 16));
          EXPECT_EQ(tile.pages == nullptr, gathered);
          for (int q = 0; q < tile.queries; ++q) {
            for (int h = 0; h < plan.heads_per_tile; ++h) ++seen[{tile.row + q, tile.head + h}];
          }
        }
        EXPECT_EQ(seen.size(), (300u + 1 + 193) * 8);
        for (const auto& [place, count] : seen) EXPECT_EQ(count, 1);
      }
    }
  }
}

TEST(PlanPrefillTest, LongTilesFirst) {
  const std::vector<PagedSequence> sequences = {{nullptr, 0, 300, 0}, {nullptr, 0, 2048, 300}};
  const PrefillPlan plan = PlanPrefill(Shape(), sequences, kL2);
  for (size_t i = 1; i < plan.tiles.size(); ++i) {
    EXPECT_GE(Blocks(plan.tiles[i - 1]), Blocks(plan.tiles[i])) << i;
  }
}

TEST(PlanPrefillTest, SectionsStayInTheCache) {
  const std::vector<PagedSequence> sequences = {{nullptr, 0, 8192, 0}};
  PrefillShape shape = Shape();
  shape.kv_heads = 8;
  // A head's keys and values are 4 MiB: three of them fit in half of 28 MiB.
  const PrefillPlan plan = PlanPrefill(shape, sequences, 28 << 20);
  std::vector<int> heads;  // in order of their first tile
  std::set<int> done;
  for (size_t i = 0; i < plan.tiles.size(); i += 3 * 64) {
    const size_t end = std::min(plan.tiles.size(), i + 3 * 64);
    std::set<int> section;
    for (size_t j = i; j < end; ++j) section.insert(plan.tiles[j].kv_head);
    EXPECT_LE(section.size(), 3u);
    for (const int head : section) EXPECT_TRUE(done.insert(head).second) << head;
  }
  EXPECT_EQ(done.size(), 8u);
}

TEST(PlanPrefillTest, HeadsShareTilesOfFewRows) {
  PrefillShape shape = Shape();
  const auto heads = [&](int rows, int first = 5120) {
    const std::vector<PagedSequence> sequences = {{nullptr, first, rows, 0}};
    return PlanPrefill(shape, sequences, kL2).heads_per_tile;
  };
  EXPECT_EQ(heads(1), 4);
  EXPECT_EQ(heads(32), 4);
  EXPECT_EQ(heads(64), 2);
  EXPECT_EQ(heads(128), 1);
  EXPECT_EQ(heads(2048, 0), 1);
  shape.q_heads = 6;  // groups of three heads cannot share
  EXPECT_EQ(heads(1), 1);
}

TEST(PlanPrefillTest, GathersTheSeenTokensOnce) {
  const std::vector<PagedSequence> sequences = {{nullptr, 0, 300, 0}, {nullptr, 1000, 50, 300}};
  PrefillShape shape = Shape();
  shape.gathered = true;
  shape.window = 100;
  const PrefillPlan plan = PlanPrefill(shape, sequences, kL2);
  ASSERT_EQ(plan.gathers.size(), 3u + 2u);
  // The second sequence sees from token 901 on: from page 56, token 896 = block 7.
  EXPECT_EQ(plan.gathers[3].begin, 896);
  EXPECT_EQ(plan.gathers[3].end, 1024);
  EXPECT_EQ(plan.gathers[4].begin, 1024);
  EXPECT_EQ(plan.gathers[4].end, 1050);
}

TEST(PlanPrefillTest, GatheredTilesFindTheirPages) {
  const std::vector<PagedSequence> sequences = {{nullptr, 200, 100, 0}, {nullptr, 1000, 500, 100}};
  for (const int window : {0, 70, 300}) {
    PrefillShape shape = Shape();
    shape.gathered = true;
    shape.window = window;
    const PrefillPlan plan = PlanPrefill(shape, sequences, kL2);
    for (const PrefillTile& tile : plan.tiles) {
      for (int t = tile.kv_begin; t < tile.kv_end; ++t) {
        const int seen = window > 0 ? std::max(0, tile.position - window + 1) : 0;
        if (t < seen) continue;
        const size_t page = tile.first_page + t / kPrefillBlockTokens;
        ASSERT_LT(page, plan.gathers.size());
        ASSERT_LE(plan.gathers[page].begin, t);
        ASSERT_GT(plan.gathers[page].end, t);
        ASSERT_EQ(static_cast<size_t>(plan.gathers[page].page), page);
      }
    }
  }
}

TEST(PlanPrefillTest, ImageStartsWithCleanCounters) {
  const std::vector<PagedSequence> sequences = {{nullptr, 0, 300, 0}};
  const PrefillPlan plan = PlanPrefill(Shape(), sequences, kL2);
  std::vector<std::byte> image(plan.ImageBytes(), std::byte{0xFF});
  plan.WriteImage(image.data());
  for (size_t i = 0; i < PrefillPlan::kCounterBytes; ++i) EXPECT_EQ(image[i], std::byte{0});
  EXPECT_EQ(image.size(), 16 + plan.tiles.size() * 48);
  EXPECT_EQ(plan.WorkspaceBytes(), 0u);
}

TEST(PrefillProblemTest, NamesFieldAndValue) {
  EXPECT_EQ(PrefillProblem(Shape()), std::nullopt);
  EXPECT_EQ(PrefillProblem(Shape(80)), "head_dim: 80, expected 64 or 128");
  PrefillShape shape = Shape();
  shape.q_heads = 7;
  EXPECT_EQ(PrefillProblem(shape), "q_heads: 7, expected a multiple of kv_heads");
  shape = Shape();
  shape.page_tokens = 24;
  EXPECT_EQ(PrefillProblem(shape), "page_tokens: 24, expected a power of two from 16 to 128");
  shape = Shape();
  shape.window = -1;
  EXPECT_EQ(PrefillProblem(shape), "window: -1, expected 0 or more");
}

}  // namespace
}  // namespace baton::kernels::cuda
