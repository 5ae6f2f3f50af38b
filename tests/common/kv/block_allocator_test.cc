#include "common/kv/block_allocator.h"

#include <gtest/gtest.h>

#include <random>
#include <set>

namespace baton {
namespace {

TEST(BlockAllocatorTest, TakesAllPagesOrNone) {
  BlockAllocator allocator(4);
  auto three = allocator.TryTake(3);
  ASSERT_TRUE(three.has_value());
  EXPECT_FALSE(allocator.TryTake(2).has_value());
  EXPECT_EQ(allocator.free_count(), 1);
  EXPECT_EQ(allocator.TryTake(0)->size(), 0u);
  auto last = allocator.TryTake(1);
  ASSERT_TRUE(last.has_value());
  std::set<int32_t> ids = {last->front().id().value()};
  for (const PageRef& page : *three) ids.insert(page.id().value());
  EXPECT_EQ(ids, (std::set<int32_t>{0, 1, 2, 3}));
  EXPECT_TRUE(allocator.Conserved());
}

TEST(BlockAllocatorTest, PageReturnsWithItsLastReference) {
  BlockAllocator allocator(1);
  PageRef first = std::move(allocator.TryTake(1)->front());
  PageRef second = first.Share();
  EXPECT_EQ(allocator.references(first.id()), 2);
  first.Reset();
  EXPECT_FALSE(first);
  EXPECT_FALSE(allocator.TryTake(1).has_value());
  PageRef moved = std::move(second);
  EXPECT_EQ(allocator.used_count(), 1);
  moved = PageRef();
  EXPECT_EQ(allocator.used_count(), 0);
  EXPECT_TRUE(allocator.Conserved());
}

TEST(BlockAllocatorTest, RandomWalkConservesPages) {
  constexpr uint32_t kSeed = 7;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::mt19937 random(kSeed);
  BlockAllocator allocator(23);
  std::vector<PageRef> held;
  for (int step = 0; step < 20000; ++step) {
    const int action = static_cast<int>(random() % 4);
    if (action == 0) {
      const int count = static_cast<int>(random() % 6);
      const int free = allocator.free_count();
      auto taken = allocator.TryTake(count);
      ASSERT_EQ(taken.has_value(), count <= free);
      if (taken) {
        for (PageRef& page : *taken) {
          ASSERT_EQ(allocator.references(page.id()), 1);
          held.push_back(std::move(page));
        }
      }
    } else if (action == 1 && !held.empty()) {
      held.push_back(held[random() % held.size()].Share());
    } else if (!held.empty()) {
      std::swap(held[random() % held.size()], held.back());
      held.pop_back();
    }
    ASSERT_TRUE(allocator.Conserved());
    std::multiset<int32_t> ids;
    for (const PageRef& page : held) ids.insert(page.id().value());
    for (int32_t id = 0; id < allocator.page_count(); ++id) {
      ASSERT_EQ(allocator.references(PageId(id)), static_cast<int>(ids.count(id)));
    }
  }
  held.clear();
  EXPECT_EQ(allocator.free_count(), 23);
}

}  // namespace
}  // namespace baton
