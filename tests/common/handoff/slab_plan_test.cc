#include "common/handoff/slab_plan.h"

#include <gtest/gtest.h>

#include <set>
#include <tuple>

namespace baton {
namespace {

using kernels::KvFormat;
using kernels::KvFormats;

constexpr kernels::KvGeometry kGeometry{6, 3, 32};
constexpr KvFormats kInt8{KvFormat::kInt8, KvFormat::kInt8};

uint64_t BytesOf(uint32_t layers, uint32_t heads, uint32_t tokens) {
  return SlabBytes({0, layers, 0, heads, 0, tokens}, kInt8, kGeometry.head_dim);
}

// Whatever the limit: every group exactly once, no slab above the limit.
void ExpectTiles(uint32_t first, uint32_t end, uint64_t limit) {
  SCOPED_TRACE(testing::Message() << "[" << first << ", " << end << ") limit " << limit);
  const auto slabs = PlanSlabs(kGeometry, kInt8, first, end, limit);
  ASSERT_TRUE(slabs.ok()) << slabs.status();
  std::set<std::tuple<uint32_t, uint32_t, uint32_t>> covered;
  for (const kernels::SlabRange& range : *slabs) {
    EXPECT_LE(SlabBytes(range, kInt8, kGeometry.head_dim), limit);
    for (uint32_t l = range.l0; l < range.l1; ++l) {
      for (uint32_t h = range.h0; h < range.h1; ++h) {
        for (uint32_t t = range.t0; t < range.t1; ++t) {
          EXPECT_TRUE(covered.emplace(l, h, t).second);
        }
      }
    }
  }
  EXPECT_EQ(covered.size(), 6u * 3u * (end - first));
  if (!covered.empty()) {
    EXPECT_EQ(std::get<2>(*covered.begin()), first);
    EXPECT_EQ(std::get<2>(*covered.rbegin()), end - 1);
  }
}

TEST(SlabPlanTest, TilesWhateverTheLimit) {
  for (uint64_t limit :
       {BytesOf(1, 1, 1), BytesOf(1, 2, 1), BytesOf(1, 3, 1), BytesOf(1, 3, 7), BytesOf(1, 3, 40),
        BytesOf(4, 3, 40), BytesOf(6, 3, 40), uint64_t{1} << 30}) {
    ExpectTiles(0, 40, limit);
    ExpectTiles(17, 40, limit);
    ExpectTiles(39, 40, limit);
  }
}

TEST(SlabPlanTest, OneSlabWhereItFits) {
  EXPECT_EQ(PlanSlabs(kGeometry, kInt8, 0, 40, BytesOf(6, 3, 40))->size(), 1u);
  // One byte less: two groups of three layers rather than five and one.
  const auto slabs = PlanSlabs(kGeometry, kInt8, 0, 40, BytesOf(6, 3, 40) - 1);
  ASSERT_EQ(slabs->size(), 2u);
  EXPECT_EQ((*slabs)[0].l1, 3u);
}

TEST(SlabPlanTest, NothingToSendIsNoSlab) {
  EXPECT_TRUE(PlanSlabs(kGeometry, kInt8, 5, 5, 1)->empty());
}

TEST(SlabPlanTest, TooSmallALimitIsRefused) {
  const auto slabs = PlanSlabs(kGeometry, kInt8, 0, 1, BytesOf(1, 1, 1) - 1);
  EXPECT_EQ(slabs.status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace baton
