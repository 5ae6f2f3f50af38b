#include "common/handoff/parked_opens.h"

#include <gtest/gtest.h>

#include "common/handoff/tombstones.h"

namespace baton {
namespace {

using std::chrono::seconds;

const TransferId kA{0, 1}, kB{0, 2};
const TimePoint kStart{std::chrono::hours(1)};

ParkedOpen Open(const TransferId& transfer, uint32_t attempt, uint64_t session,
                TimePoint since = kStart) {
  return {transfer, attempt, session, {}, since};
}

TEST(ParkedOpensTest, BoundedAndWithoutDoubles) {
  ParkedOpens parked(2);
  EXPECT_TRUE(parked.Park(Open(kA, 1, 1)));
  EXPECT_TRUE(parked.Park(Open(kA, 1, 1)));
  EXPECT_TRUE(parked.Park(Open(kA, 2, 1)));
  EXPECT_FALSE(parked.Park(Open(kB, 1, 1)));
  EXPECT_TRUE(parked.Park(Open(kA, 1, 1)));  // known: replaces, takes no room
  EXPECT_EQ(parked.all().size(), 2u);
}

TEST(ParkedOpensTest, TakesByTransferSessionAndAge) {
  ParkedOpens parked(10);
  for (auto& open : {Open(kA, 1, 1), Open(kA, 2, 2, kStart + seconds(1)), Open(kB, 1, 1)}) {
    EXPECT_TRUE(parked.Park(open));
  }
  EXPECT_FALSE(parked.Remove(kA, 1, 2));
  EXPECT_TRUE(parked.Remove(kA, 1, 1));
  parked.RemoveSession(1);
  ASSERT_EQ(parked.all().size(), 1u);
  const auto never = [](const ParkedOpen&) { return false; };
  const auto always = [](const ParkedOpen&) { return true; };
  EXPECT_TRUE(parked.TakeOlder(kStart, never).empty());
  EXPECT_TRUE(parked.TakeOlder(kStart + seconds(1), always).empty());
  EXPECT_EQ(parked.TakeOlder(kStart + seconds(1), never).size(), 1u);
  EXPECT_TRUE(parked.TakeTransfer(kA).empty());
}

TEST(TombstonesTest, KeptForAWhileAndBounded) {
  Tombstones stones({.capacity = 2, .keep = seconds(10)});
  stones.Add(kA, {1, v1::REFUSE_CODE_NO_ROOM}, kStart);
  stones.Add(kB, {2, v1::REFUSE_CODE_ENDED}, kStart + seconds(5));
  EXPECT_EQ(stones.Find(kA)->code, v1::REFUSE_CODE_NO_ROOM);
  stones.Expire(kStart + seconds(10));
  EXPECT_FALSE(stones.Find(kA));
  EXPECT_EQ(stones.Find(kB)->attempt, 2u);
  stones.Add(kA, {1, v1::REFUSE_CODE_ENDED}, kStart + seconds(6));
  stones.Add({0, 3}, {1, v1::REFUSE_CODE_ENDED}, kStart + seconds(7));
  EXPECT_FALSE(stones.Find(kB));
  EXPECT_EQ(stones.size(), 2u);
}

TEST(TombstonesTest, LaterTombstoneOutlivesTheExpiryOfTheFormer) {
  Tombstones stones({.capacity = 8, .keep = seconds(10)});
  stones.Add(kA, {1, v1::REFUSE_CODE_NO_ROOM}, kStart);
  stones.Remove(kA);
  stones.Add(kA, {2, v1::REFUSE_CODE_ENDED}, kStart + seconds(5));
  stones.Expire(kStart + seconds(12));
  ASSERT_TRUE(stones.Find(kA));
  EXPECT_EQ(stones.Find(kA)->attempt, 2u);
  stones.Expire(kStart + seconds(15));
  EXPECT_FALSE(stones.Find(kA));
}

}  // namespace
}  // namespace baton
