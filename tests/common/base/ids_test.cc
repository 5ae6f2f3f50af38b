#include "common/base/ids.h"

#include <gtest/gtest.h>

#include <type_traits>

namespace baton {
namespace {

TEST(IdsTest, StrongTypesDoNotConvert) {
  static_assert(!std::is_convertible_v<int32_t, PageId>);
  static_assert(!std::is_convertible_v<PageId, int32_t>);
  static_assert(!std::is_convertible_v<RequestId, WorkerId>);
  EXPECT_LT(PageId(1), PageId(2));
}

TEST(IdsTest, TransferIdRoundTripsThroughBytes) {
  std::mt19937_64 rng(7);
  const TransferId id = TransferId::Random(rng);
  const auto back = TransferId::FromBytes(id.ToBytes());
  ASSERT_TRUE(back.ok());
  EXPECT_EQ(*back, id);
  EXPECT_EQ(TransferId({0x0123456789abcdefull, 1}).ToString(), "0123456789abcdef0000000000000001");
}

TEST(IdsTest, TransferIdOfAnotherSizeIsRefusedByName) {
  const auto id = TransferId::FromBytes("short");
  ASSERT_FALSE(id.ok());
  EXPECT_EQ(id.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(std::string(id.status().message()), "transfer_id: 5 bytes, expected 16");
}

}  // namespace
}  // namespace baton
