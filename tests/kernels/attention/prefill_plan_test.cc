#include "kernels/attention/prefill_plan.h"

#include <algorithm>
#include <map>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace baton::kernels::cuda {
namespace {

constexpr PrefillDevice kDevice;

PrefillShape Shape(int head_dim = 128) {
  return {.q_heads = 8, .kv_heads = 2, .head_dim = head_dim, .page_tokens = 16};
}

int Blocks(const PrefillTile& tile) {
  return (tile.kv_end + kPrefillBlockTokens - 1) / kPrefillBlockTokens -
         tile.kv_begin / kPrefillBlockTokens;
}

// The tiles before long ones were split.
std::vector<PrefillTile> WholeTiles(const PrefillPlan& plan) {
  std::vector<PrefillTile> tiles;
  for (const PrefillTile& tile : plan.tiles) {
    if (tile.slot < 0) tiles.push_back(tile);
  }
  for (const PrefillMerge& merge : plan.merges) tiles.push_back(merge.tile);
  return tiles;
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
        const PrefillPlan plan = PlanPrefill(shape, sequences, kDevice);
        EXPECT_EQ(plan.rows, 499);
        std::map<std::pair<int, int>, int> seen;
        for (const PrefillTile& tile : WholeTiles(plan)) {
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
  const PrefillPlan plan = PlanPrefill(Shape(), sequences, kDevice);
  for (size_t i = 1; i < plan.tiles.size(); ++i) {
    EXPECT_GE(Blocks(plan.tiles[i - 1]), Blocks(plan.tiles[i])) << i;
  }
}

TEST(PlanPrefillTest, SplitsLongTilesOfSmallBatches) {
  const std::vector<PagedSequence> sequences = {{nullptr, 0, 40, 0}, {nullptr, 8190, 50, 40}};
  for (const bool gathered : {false, true}) {
    for (const int window : {0, 5000}) {
      PrefillShape shape = Shape();
      shape.gathered = gathered;
      shape.window = window;
      const PrefillPlan plan = PlanPrefill(shape, sequences, kDevice);
      ASSERT_FALSE(plan.merges.empty());
      std::map<int, PrefillTile> parts;
      for (const PrefillTile& tile : plan.tiles) {
        EXPECT_LE(Blocks(tile), 6);  // shares are 4, parts to the nearest
        EXPECT_GT(tile.kv_end, tile.kv_begin);
        if (tile.slot >= 0) {
          EXPECT_TRUE(parts.emplace(tile.slot, tile).second);
        }
      }
      int slots = 0;
      for (const PrefillMerge& merge : plan.merges) {
        EXPECT_EQ(merge.first_slot, slots);
        slots += merge.parts;
        int token = merge.tile.kv_begin;
        for (int i = 0; i < merge.parts; ++i) {  // the parts are the whole, in order
          const PrefillTile& part = parts.at(merge.first_slot + i);
          EXPECT_EQ(part.kv_begin, token);
          EXPECT_EQ(part.row, merge.tile.row);
          EXPECT_EQ(part.head, merge.tile.head);
          token = part.kv_end;
          if (i + 1 < merge.parts) {
            EXPECT_EQ(token % kPrefillBlockTokens, 0);
          }
        }
        EXPECT_EQ(token, merge.tile.kv_end);
      }
      EXPECT_EQ(slots, plan.slots);
    }
  }
}

TEST(PlanPrefillTest, LargeBatchesAreNotSplit) {
  for (const int rows : {2048, 8192}) {
    const std::vector<PagedSequence> sequences = {{nullptr, 0, rows, 0}};
    PrefillShape shape = Shape();
    shape.q_heads = 32;
    shape.kv_heads = 8;
    EXPECT_TRUE(PlanPrefill(shape, sequences, kDevice).merges.empty());
  }
}

TEST(PlanPrefillTest, SectionsStayInTheCache) {
  const std::vector<PagedSequence> sequences = {{nullptr, 0, 8192, 0}};
  PrefillShape shape = Shape();
  shape.kv_heads = 8;
  // A head's keys and values are 4 MiB: two of them fit in half of 16 MiB.
  const PrefillPlan plan = PlanPrefill(shape, sequences, {.sm_count = 16, .l2_bytes = 16 << 20});
  ASSERT_TRUE(plan.merges.empty());
  ASSERT_EQ(plan.tiles.size(), 8u * 64);
  for (size_t i = 0; i < plan.tiles.size(); ++i) {
    const int section = static_cast<int>(i / (2 * 64));
    EXPECT_EQ(plan.tiles[i].kv_head / 2, section) << i;
    if (i % (2 * 64) != 0) {
      EXPECT_GE(Blocks(plan.tiles[i - 1]), Blocks(plan.tiles[i])) << i;
    }
  }
}

// Two sections of 16 heads would each end with a long tile on few multiprocessors.
TEST(PlanPrefillTest, ShortSectionsAreJoined) {
  const std::vector<PagedSequence> sequences = {{nullptr, 0, 2048, 0}};
  PrefillShape shape = Shape();
  shape.q_heads = shape.kv_heads = 32;
  const PrefillPlan plan = PlanPrefill(shape, sequences, kDevice);
  for (size_t i = 0; i < 32; ++i) EXPECT_EQ(Blocks(plan.tiles[i]), 16) << i;
}

TEST(PlanPrefillTest, HeadsShareTilesOfFewRows) {
  PrefillShape shape = Shape();
  const auto heads = [&](int rows, int first = 5120) {
    const std::vector<PagedSequence> sequences = {{nullptr, first, rows, 0}};
    return PlanPrefill(shape, sequences, kDevice).heads_per_tile;
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
  const PrefillPlan plan = PlanPrefill(shape, sequences, kDevice);
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
    const PrefillPlan plan = PlanPrefill(shape, sequences, kDevice);
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

TEST(PrefillGatherPaysTest, OnlyForSmallPagesThatAreReadOften) {
  PrefillShape shape = Shape();
  const auto pays = [&](int first, int rows) {
    const PagedSequence sequence{nullptr, first, rows, 0};
    return PrefillGatherPays(shape, {&sequence, 1});
  };
  EXPECT_TRUE(pays(0, 8192));
  EXPECT_FALSE(pays(0, 2048));
  EXPECT_FALSE(pays(8192, 512));
  EXPECT_FALSE(pays(100, 0));
  EXPECT_TRUE(pays(8192, 4096));
  shape.window = 512;
  EXPECT_FALSE(pays(0, 8192));
  shape.window = 0;
  shape.page_tokens = 32;
  EXPECT_FALSE(pays(0, 8192));
}

TEST(PlanPrefillTest, ImageStartsWithCleanCounters) {
  const std::vector<PagedSequence> sequences = {{nullptr, 0, 300, 0}};
  const PrefillPlan plan = PlanPrefill(Shape(), sequences, kDevice);
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
