#include "common/kv/prefix_index.h"

#include <gtest/gtest.h>

#include <numeric>

namespace baton {
namespace {

constexpr int kPage = 4;
const PrefixScope kScope{"producer", "tenant"};

std::vector<int32_t> Tokens(int count, int32_t first = 0) {
  std::vector<int32_t> tokens(count);
  std::iota(tokens.begin(), tokens.end(), first);
  return tokens;
}

class PrefixIndexTest : public testing::Test {
 protected:
  PageTable Take(int count) {
    PageTable table;
    table.Append(*allocator_.TryTake(count));
    return table;
  }
  std::vector<int32_t> MatchIds(const PrefixScope& scope, const std::vector<int32_t>& tokens,
                                int limit) {
    std::vector<int32_t> ids;
    for (const PageRef& page : index_.Match(scope, tokens, limit)) {
      ids.push_back(page.id().value());
    }
    return ids;
  }
  static std::vector<int32_t> Ids(const PageTable& table, int count) {
    return {table.ids().begin(), table.ids().begin() + count};
  }

  BlockAllocator allocator_{16};
  PrefixIndex index_{kPage, allocator_};
};

TEST_F(PrefixIndexTest, MatchesFullPagesUpToTheLimit) {
  PageTable table = Take(3);
  index_.Insert(kScope, Tokens(11), table);  // the third page is not full
  EXPECT_EQ(index_.size(), 2);
  EXPECT_EQ(MatchIds(kScope, Tokens(12), 12), Ids(table, 2));
  EXPECT_EQ(MatchIds(kScope, Tokens(12), 7), Ids(table, 1));
  EXPECT_EQ(MatchIds(kScope, Tokens(12), 3), Ids(table, 0));
  EXPECT_EQ(MatchIds(kScope, Tokens(7), 100), Ids(table, 1));
}

TEST_F(PrefixIndexTest, ScopesDoNotMix) {
  PageTable table = Take(1);
  index_.Insert(kScope, Tokens(4), table);
  EXPECT_TRUE(MatchIds({"other", "tenant"}, Tokens(4), 4).empty());
  EXPECT_TRUE(MatchIds({"producer", "other"}, Tokens(4), 4).empty());
  EXPECT_EQ(MatchIds(kScope, Tokens(4), 4), Ids(table, 1));
}

TEST_F(PrefixIndexTest, AllPrecedingTokensCount) {
  PageTable table = Take(2);
  index_.Insert(kScope, Tokens(8), table);
  std::vector<int32_t> other = Tokens(8);
  other[0] = 99;  // the second page's own tokens are equal
  EXPECT_TRUE(MatchIds(kScope, other, 8).empty());
}

TEST_F(PrefixIndexTest, FirstInsertionOfAKeyStays) {
  PageTable first = Take(1), second = Take(2);
  index_.Insert(kScope, Tokens(4), first);
  index_.Insert(kScope, Tokens(8), second);
  EXPECT_EQ(MatchIds(kScope, Tokens(8), 8),
            (std::vector<int32_t>{first.ids()[0], second.ids()[1]}));
  second.Clear();
  EXPECT_EQ(allocator_.used_count(), 2);  // the second table's first page was not kept
}

TEST_F(PrefixIndexTest, EvictsLeastRecentlyUsedLeavesFirst) {
  index_.Insert(kScope, Tokens(8), Take(2));             // a
  index_.Insert(kScope, Tokens(8, 100), Take(2));        // b
  EXPECT_EQ(MatchIds(kScope, Tokens(8), 8).size(), 2u);  // a is used after b
  EXPECT_TRUE(index_.TryEvict(1));
  EXPECT_EQ(MatchIds(kScope, Tokens(8, 100), 8).size(), 1u);  // b lost its leaf; b is used last
  EXPECT_TRUE(index_.TryEvict(2));
  EXPECT_EQ(MatchIds(kScope, Tokens(8), 8).size(), 0u);
  EXPECT_EQ(MatchIds(kScope, Tokens(8, 100), 8).size(), 1u);
}

TEST_F(PrefixIndexTest, NeverEvictsWhatSomebodyHolds) {
  PageTable held = Take(2);
  index_.Insert(kScope, Tokens(8), held);
  index_.Insert(kScope, Tokens(4, 50), Take(1));
  EXPECT_EQ(index_.evictable(), 1);
  EXPECT_FALSE(index_.TryEvict(2));
  EXPECT_EQ(index_.size(), 3);  // all or none
  EXPECT_TRUE(index_.TryEvict(1));
  EXPECT_EQ(MatchIds(kScope, Tokens(8), 8), Ids(held, 2));
}

TEST_F(PrefixIndexTest, AParentStaysWhileItsChildIsHeld) {
  PageTable first = Take(2), second = Take(2);
  index_.Insert(kScope, Tokens(4), first);
  index_.Insert(kScope, Tokens(8), second);
  first.Clear();  // the parent page is held by the index only, its child by `second`
  EXPECT_EQ(index_.evictable(), 0);
  second.Clear();
  EXPECT_EQ(index_.evictable(), 2);
  index_.Clear();
  EXPECT_EQ(allocator_.free_count(), 16);
}

}  // namespace
}  // namespace baton
