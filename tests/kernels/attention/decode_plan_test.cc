#include "kernels/attention/decode_plan.h"

#include <algorithm>
#include <map>
#include <random>
#include <utility>
#include <vector>

#include "gtest/gtest.h"

namespace baton::kernels {
namespace {

int64_t Chunks(const DecodePlan& plan, int block) {
  int64_t chunks = 0;
  for (int i = plan.begin[block]; i < plan.begin[block + 1]; ++i) {
    chunks += plan.works[i].chunk_end - plan.works[i].chunk_begin;
  }
  return chunks;
}

// Works of a block that begin an item.
int64_t Items(const DecodePlan& plan, int block) {
  int64_t items = 0;
  for (int i = plan.begin[block]; i < plan.begin[block + 1]; ++i) {
    items += plan.works[i].slot == -1 || plan.works[i].slot == plan.works[i].first_slot;
  }
  return items;
}

// Every chunk of every item exactly once, parts numbered in order, blocks even.
void CheckPlan(const DecodePlanShape& shape, const DecodePlan& plan) {
  ASSERT_EQ(plan.begin.size(), static_cast<size_t>(shape.blocks) + 1);
  ASSERT_EQ(plan.begin.front(), 0);
  ASSERT_EQ(plan.begin.back(), static_cast<int>(plan.works.size()));
  EXPECT_TRUE(std::is_sorted(plan.begin.begin(), plan.begin.end()));
  EXPECT_LE(plan.slots, 2 * shape.blocks);
  EXPECT_LE(plan.counters, shape.blocks);

  std::map<std::pair<int, int>, std::vector<DecodeWork>> items;
  for (const DecodeWork& work : plan.works) items[{work.sequence, work.tile}].push_back(work);
  size_t expected_items = 0;
  std::vector<bool> slot_used(plan.slots, false);
  for (size_t s = 0; s < shape.lengths.size(); ++s) {
    const int length = shape.lengths[s];
    if (length == 0) continue;
    const int begin = shape.window > 0 ? std::max(0, length - shape.window) : 0;
    for (int tile = 0; tile < shape.kv_heads * shape.tiles; ++tile, ++expected_items) {
      const auto& parts = items[{static_cast<int>(s), tile}];
      ASSERT_FALSE(parts.empty());
      int chunk = begin / shape.chunk_tokens;
      for (size_t p = 0; p < parts.size(); ++p) {
        EXPECT_EQ(parts[p].token_begin, begin);
        EXPECT_EQ(parts[p].token_end, length);
        EXPECT_EQ(parts[p].chunk_begin, chunk);
        EXPECT_LT(parts[p].chunk_begin, parts[p].chunk_end);
        EXPECT_EQ(parts[p].parts, static_cast<int>(parts.size()));
        chunk = parts[p].chunk_end;
        if (parts.size() == 1) {
          EXPECT_EQ(parts[p].slot, -1);
        } else {
          EXPECT_EQ(parts[p].slot, parts[p].first_slot + static_cast<int>(p));
          ASSERT_LT(parts[p].slot, plan.slots);
          EXPECT_FALSE(slot_used[parts[p].slot]);
          slot_used[parts[p].slot] = true;
          EXPECT_EQ(parts[p].counter, parts[0].counter);
        }
      }
      EXPECT_EQ(chunk, (length + shape.chunk_tokens - 1) / shape.chunk_tokens);
    }
  }
  EXPECT_EQ(items.size(), expected_items);

  int64_t chunks = 0;
  int64_t total = 0;
  int64_t most = 0;
  int used = 0;
  for (int b = 0; b < shape.blocks; ++b) {
    const int64_t cost = Chunks(plan, b) + shape.work_cost * Items(plan, b);
    chunks += Chunks(plan, b);
    total += cost;
    most = std::max(most, cost);
    used += cost > 0;
  }
  if (used == 0) return;
  EXPECT_LE(used, std::max<int64_t>(1, chunks / shape.min_chunks));
  const int64_t shares = std::clamp<int64_t>(chunks / shape.min_chunks, 1, shape.blocks);
  const int64_t share = total / shares;
  EXPECT_LE(most, share + share / 16 + 2 + shape.work_cost + shape.work_cost / 2);
}

TEST(DecodePlanTest, OneShortSequenceIsNotSplit) {
  const std::vector<int32_t> lengths = {1};
  const DecodePlanShape shape{
      .lengths = lengths, .kv_heads = 2, .chunk_tokens = 16, .blocks = 132, .min_chunks = 8};
  const DecodePlan plan = PlanDecode(shape);
  CheckPlan(shape, plan);
  EXPECT_EQ(plan.works.size(), 2u);
  EXPECT_EQ(plan.slots, 0);
}

TEST(DecodePlanTest, ALongSequenceIsSpreadOverAllBlocks) {
  const std::vector<int32_t> lengths = {32768};
  const DecodePlanShape shape{
      .lengths = lengths, .kv_heads = 8, .chunk_tokens = 16, .blocks = 132, .min_chunks = 8};
  const DecodePlan plan = PlanDecode(shape);
  CheckPlan(shape, plan);
  for (int b = 0; b < shape.blocks; ++b) EXPECT_GT(Chunks(plan, b), 0);
}

TEST(DecodePlanTest, FewItemsGetWholeBlocks) {
  const std::vector<int32_t> lengths(16, 4096);
  const DecodePlanShape shape{.lengths = lengths,
                              .kv_heads = 8,
                              .chunk_tokens = 32,
                              .blocks = 264,
                              .min_chunks = 16,
                              .work_cost = 6};
  const DecodePlan plan = PlanDecode(shape);
  CheckPlan(shape, plan);
  EXPECT_EQ(plan.works.size(), 256u);  // two parts an item
  for (int b = 0; b < 256; ++b) EXPECT_EQ(plan.begin[b + 1] - plan.begin[b], 1);
}

TEST(DecodePlanTest, EvenBatchOfWholeItemsHasNoSplit) {
  const std::vector<int32_t> lengths(16, 640);
  const DecodePlanShape shape{.lengths = lengths, .kv_heads = 4, .chunk_tokens = 64, .blocks = 32};
  const DecodePlan plan = PlanDecode(shape);
  CheckPlan(shape, plan);
  EXPECT_EQ(plan.slots, 0);
}

TEST(DecodePlanTest, ManyEqualItemsAreNotSplit) {
  const std::vector<int32_t> lengths(256, 1024);
  const DecodePlanShape shape{.lengths = lengths,
                              .kv_heads = 8,
                              .chunk_tokens = 32,
                              .blocks = 528,
                              .min_chunks = 4,
                              .work_cost = 6};
  const DecodePlan plan = PlanDecode(shape);
  CheckPlan(shape, plan);
  EXPECT_EQ(plan.slots, 0);
  EXPECT_EQ(plan.begin[1], 4);
}

TEST(DecodePlanTest, RandomRaggedBatches) {
  std::mt19937 random(7);
  for (int round = 0; round < 200; ++round) {
    std::vector<int32_t> lengths(1 + random() % 70);
    for (int32_t& length : lengths) {
      length = static_cast<int32_t>(random() % (round % 4 == 0 ? 40 : 20000));
    }
    const DecodePlanShape shape{.lengths = lengths,
                                .window = round % 3 == 0 ? static_cast<int>(random() % 4000) : 0,
                                .kv_heads = 1 + static_cast<int>(random() % 8),
                                .tiles = 1 + static_cast<int>(random() % 2),
                                .chunk_tokens = 16 << random() % 3,
                                .blocks = 1 + static_cast<int>(random() % 264),
                                .min_chunks = 1 + static_cast<int>(random() % 16),
                                .work_cost = static_cast<int>(random() % 3) * 7};
    const DecodePlan plan = PlanDecode(shape);
    CheckPlan(shape, plan);
    EXPECT_LE(plan.Words().size() * sizeof(int32_t),
              DecodePlanBytes(static_cast<int>(lengths.size()), shape.kv_heads, shape.tiles,
                              shape.blocks));
  }
}

TEST(DecodePlanTest, NothingToDo) {
  const std::vector<int32_t> lengths = {0, 0};
  const DecodePlanShape shape{.lengths = lengths, .kv_heads = 2, .chunk_tokens = 16, .blocks = 4};
  const DecodePlan plan = PlanDecode(shape);
  EXPECT_TRUE(plan.works.empty());
  EXPECT_EQ(plan.begin, std::vector<int32_t>(5, 0));
}

TEST(DecodePlanTest, WordsAreWhatTheKernelReads) {
  const std::vector<int32_t> lengths = {20};
  const DecodePlan plan =
      PlanDecode({.lengths = lengths, .kv_heads = 1, .chunk_tokens = 16, .blocks = 4});
  const std::vector<int32_t> words = plan.Words();
  EXPECT_EQ(std::vector<int32_t>(words.begin(), words.begin() + 5),
            (std::vector<int32_t>{0, 1, 2, 2, 2}));
  EXPECT_EQ(std::vector<int32_t>(words.begin() + 8, words.begin() + 18),
            (std::vector<int32_t>{0, 0, 0, 20, 0, 1, 0, 0, 2, 0}));
}

}  // namespace
}  // namespace baton::kernels
