#include "kernels/numeric/partition.h"

#include <gtest/gtest.h>

namespace baton::kernels {
namespace {

TEST(Partition, CoversTheRangeOnceInOrder) {
  for (int64_t total : {0, 1, 5, 16, 17, 64, 1000}) {
    for (int parts : {1, 2, 3, 5, 8}) {
      for (int64_t multiple : {1, 4, 16, 64}) {
        int64_t at = 0;
        for (int part = 0; part < parts; ++part) {
          const Range r = Partition(total, part, parts, multiple);
          EXPECT_EQ(r.begin, at);
          EXPECT_LE(r.begin, r.end);
          EXPECT_TRUE(r.end == total || r.end % multiple == 0);
          at = r.end;
        }
        EXPECT_EQ(at, total);
      }
    }
  }
}

TEST(Partition, SharesDifferByAtMostOneMultiple) {
  EXPECT_EQ(Partition(10, 0, 4), (Range{0, 3}));
  EXPECT_EQ(Partition(10, 1, 4), (Range{3, 6}));
  EXPECT_EQ(Partition(10, 2, 4), (Range{6, 8}));
  EXPECT_EQ(Partition(10, 3, 4), (Range{8, 10}));
  EXPECT_EQ(Partition(40, 1, 2, 16), (Range{32, 40}));
  EXPECT_TRUE(Partition(3, 3, 4).empty());
}

}  // namespace
}  // namespace baton::kernels
