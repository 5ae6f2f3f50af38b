#include "common/handoff/ucx/event_loop.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include "common/base/thread.h"

namespace baton::ucx {
namespace {

constexpr Duration kLong = std::chrono::seconds(30);

TEST(EventLoop, RunsCommandsInOrderAndOnlyThoseThatWereThere) {
  auto loop = *EventLoop::Create();
  std::vector<int> ran;
  EXPECT_FALSE(loop->RunPosted());
  ASSERT_TRUE(loop->Post([&] {
    ran.push_back(1);
    EXPECT_TRUE(loop->Post([&] { ran.push_back(3); }));
  }));
  ASSERT_TRUE(loop->Post([&] { ran.push_back(2); }));
  EXPECT_TRUE(loop->RunPosted());
  EXPECT_EQ(ran, (std::vector<int>{1, 2}));
  EXPECT_TRUE(loop->RunPosted());
  EXPECT_EQ(ran.back(), 3);
}

TEST(EventLoop, APostFromAnotherThreadEndsTheWait) {
  auto loop = *EventLoop::Create();
  bool ran = false;
  Thread poster("poster", [&] { EXPECT_TRUE(loop->Post([&] { ran = true; })); });
  const TimePoint start = RealClock().Now();
  loop->Wait(kLong);
  EXPECT_LT(RealClock().Now() - start, kLong);
  loop->RunPosted();
  EXPECT_TRUE(ran);
}

TEST(EventLoop, AWatchedDescriptorEndsTheWait) {
  auto loop = *EventLoop::Create();
  int ends[2];
  ASSERT_EQ(pipe(ends), 0);
  ASSERT_TRUE(loop->Watch(ends[0]).ok());
  ASSERT_EQ(write(ends[1], "x", 1), 1);
  const TimePoint start = RealClock().Now();
  loop->Wait(kLong);
  EXPECT_LT(RealClock().Now() - start, kLong);
  close(ends[0]);
  close(ends[1]);
  EXPECT_FALSE(loop->Watch(-1).ok());
}

TEST(EventLoop, CloseRunsTheRestAndRefusesMore) {
  auto loop = *EventLoop::Create();
  int ran = 0;
  ASSERT_TRUE(loop->Post([&] { ++ran; }));
  loop->Close();
  EXPECT_EQ(ran, 1);
  EXPECT_FALSE(loop->Post([&] { ++ran; }));
  EXPECT_FALSE(loop->RunPosted());
  EXPECT_EQ(ran, 1);
}

}  // namespace
}  // namespace baton::ucx
