#include "common/kv/page_pool.h"

#include <gtest/gtest.h>

#include <map>
#include <random>

namespace baton {
namespace {

TEST(PagePoolTest, EvictsOnlyWhatIsMissing) {
  PagePool pool({.page_count = 4, .page_tokens = 2});
  PageTable table;
  table.Append(*pool.TryTake(3));
  pool.Cache({"p", ""}, std::vector<int32_t>{1, 2, 3, 4, 5, 6}, table);
  table.Clear();
  EXPECT_EQ(pool.available(), 4);
  auto two = pool.TryTake(2);
  ASSERT_TRUE(two.has_value());
  EXPECT_EQ(pool.index().size(), 2);
  EXPECT_FALSE(pool.TryTake(3).has_value());
  EXPECT_EQ(pool.index().size(), 2);
  EXPECT_EQ(pool.Match({"p", ""}, std::vector<int32_t>{1, 2, 3, 4, 5, 6}, 6).size(), 2u);
}

TEST(PagePoolTest, OffMeansOff) {
  PagePool pool({.page_count = 2, .page_tokens = 2, .prefix_cache = false});
  PageTable table;
  table.Append(*pool.TryTake(1));
  pool.Cache({"p", ""}, std::vector<int32_t>{1, 2}, table);
  EXPECT_EQ(pool.index().size(), 0);
  EXPECT_TRUE(pool.Match({"p", ""}, std::vector<int32_t>{1, 2}, 2).empty());
}

// Every cached page remembers which tokens it was filled for: a match must return exactly those.
TEST(PagePoolTest, RandomWalkConservesPagesAndContent) {
  constexpr uint32_t kSeed = 11;
  constexpr int kPage = 2;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::mt19937 random(kSeed);
  PagePool pool({.page_count = 12, .page_tokens = kPage});
  std::map<int32_t, std::vector<int32_t>> content;  // page -> all tokens up to its end
  std::vector<PageTable> live;
  for (int step = 0; step < 20000; ++step) {
    if (random() % 2 == 0 && !live.empty()) {
      std::swap(live[random() % live.size()], live.back());
      live.pop_back();
    } else {
      std::vector<int32_t> tokens(1 + random() % 9);
      for (int32_t& token : tokens) token = static_cast<int32_t>(random() % 2);
      PageTable table;
      table.Append(pool.Match({"p", ""}, tokens, static_cast<int64_t>(tokens.size()) - 1));
      for (int i = 0; i < table.size(); ++i) {
        const std::vector<int32_t> expected(tokens.begin(), tokens.begin() + (i + 1) * kPage);
        ASSERT_EQ(content[table.ids()[i]], expected);
      }
      const int matched = table.size();
      const int missing = PagesFor(static_cast<int64_t>(tokens.size()), kPage) - matched;
      const int available = pool.takeable();
      ASSERT_GE(pool.available(), available);
      auto fresh = pool.TryTake(missing);
      ASSERT_EQ(fresh.has_value(), missing <= available);
      if (!fresh) continue;
      table.Append(*std::move(fresh));
      for (int i = matched; i < table.size(); ++i) {
        const size_t end = std::min<size_t>((i + 1) * kPage, tokens.size());
        content[table.ids()[i]] = {tokens.begin(), tokens.begin() + end};
      }
      pool.Cache({"p", ""}, tokens, table);
      live.push_back(std::move(table));
    }
    ASSERT_TRUE(pool.allocator().Conserved());
  }
  live.clear();
  EXPECT_EQ(pool.available(), 12);
  pool.DropCache();
  EXPECT_EQ(pool.allocator().free_count(), 12);
}

}  // namespace
}  // namespace baton
