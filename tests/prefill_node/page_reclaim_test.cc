#include "prefill_node/page_reclaim.h"

#include <gtest/gtest.h>

namespace baton {
namespace {

using Keys = std::vector<SequenceKey>;

TEST(PageReclaimTest, YoungestFirstAndNoMoreThanNeeded) {
  EXPECT_EQ(ChooseDisplaced({1, 0, false}, 3, {{2, 2, false}, {3, 2, false}, {4, 2, false}}),
            (Keys{4, 3}));
}

TEST(PageReclaimTest, SecuredHoldersAreSafe) {
  EXPECT_EQ(ChooseDisplaced({1, 0, true}, 1, {{2, 4, true}, {3, 4, false}}), (Keys{3}));
  EXPECT_TRUE(ChooseDisplaced({1, 0, true}, 1, {{2, 4, true}}).empty());
}

TEST(PageReclaimTest, OnlyASecuredRequestDisplacesAnOlderOne) {
  EXPECT_TRUE(ChooseDisplaced({5, 0, false}, 1, {{4, 4, false}}).empty());
  EXPECT_EQ(ChooseDisplaced({5, 0, true}, 1, {{4, 4, false}}), (Keys{4}));
}

TEST(PageReclaimTest, NobodySuffersForNothing) {
  EXPECT_TRUE(ChooseDisplaced({5, 0, true}, 9, {{4, 4, false}, {3, 4, false}}).empty());
  EXPECT_TRUE(ChooseDisplaced({5, 0, true}, 0, {{4, 4, false}}).empty());
  EXPECT_TRUE(ChooseDisplaced({5, 0, true}, 1, {{5, 0, true}, {6, 0, false}}).empty());
}

}  // namespace
}  // namespace baton
