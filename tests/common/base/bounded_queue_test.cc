#include "common/base/bounded_queue.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "common/base/thread.h"
#include "tests/fakes/fake_clock.h"

namespace baton {
namespace {

TEST(BoundedQueueTest, RefusesWhenFullAndKeepsTheItem) {
  FakeClock clock;
  BoundedQueue<std::unique_ptr<int>> queue(1, clock);
  EXPECT_TRUE(queue.TryPush(std::make_unique<int>(1)));
  auto second = std::make_unique<int>(2);
  EXPECT_FALSE(queue.TryPush(std::move(second)));
  ASSERT_NE(second, nullptr);
  EXPECT_EQ(*second, 2);
}

TEST(BoundedQueueTest, PopTimesOutByTheClock) {
  FakeClock clock;
  BoundedQueue<int> queue(4, clock);
  EXPECT_EQ(queue.PopUntil(clock.Now()), std::nullopt);
}

TEST(BoundedQueueTest, CloseLetsWhatIsLeftOutAndRefusesMore) {
  FakeClock clock;
  BoundedQueue<int> queue(4, clock);
  EXPECT_TRUE(queue.Push(1));
  queue.Close();
  EXPECT_FALSE(queue.Push(2));
  const TimePoint later = clock.Now() + std::chrono::hours(1);
  EXPECT_EQ(queue.PopUntil(later), 1);
  EXPECT_EQ(queue.PopUntil(later), std::nullopt);
}

TEST(BoundedQueueTest, OrderOfOneProducerIsKeptAcrossThreads) {
  RealClock clock;
  BoundedQueue<int> queue(1000, clock);
  Thread producer("producer", [&] {
    for (int i = 0; i < 1000; ++i) queue.Push(i);
  });
  int expected = 0;
  while (expected < 1000) {
    for (int value : queue.PopAllUntil(clock.Now() + std::chrono::seconds(10))) {
      ASSERT_EQ(value, expected++);
    }
  }
}

}  // namespace
}  // namespace baton
