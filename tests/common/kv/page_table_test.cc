#include "common/kv/page_table.h"

#include <gtest/gtest.h>

namespace baton {
namespace {

TEST(PageTableTest, PagesForRoundsUp) {
  EXPECT_EQ(PagesFor(0, 16), 0);
  EXPECT_EQ(PagesFor(1, 16), 1);
  EXPECT_EQ(PagesFor(16, 16), 1);
  EXPECT_EQ(PagesFor(17, 16), 2);
}

TEST(PageTableTest, KeepsOrderAndTruncates) {
  BlockAllocator allocator(5);
  PageTable table;
  table.Append(*allocator.TryTake(4));
  ASSERT_EQ(table.size(), 4);
  for (int i = 0; i < 4; ++i) EXPECT_EQ(table.ids()[i], table.page(i).id().value());
  table.Truncate(1);
  EXPECT_EQ(table.size(), 1);
  EXPECT_EQ(allocator.free_count(), 4);
  table.Clear();
  EXPECT_TRUE(table.empty());
  EXPECT_EQ(allocator.free_count(), 5);
}

TEST(PageTableTest, ShareHoldsThePagesOnItsOwn) {
  BlockAllocator allocator(3);
  PageTable table;
  table.Append(*allocator.TryTake(3));
  PageTable copy = table.Share();
  const std::vector<int32_t> ids(table.ids().begin(), table.ids().end());
  table.Clear();
  EXPECT_EQ(allocator.free_count(), 0);
  EXPECT_EQ(std::vector<int32_t>(copy.ids().begin(), copy.ids().end()), ids);
  copy.Clear();
  EXPECT_EQ(allocator.free_count(), 3);
}

}  // namespace
}  // namespace baton
