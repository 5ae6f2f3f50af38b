#include "common/engine/threaded_executor.h"

#include <gtest/gtest.h>

#include <future>
#include <vector>

namespace baton {
namespace {

TEST(ThreadedExecutorTest, KeepsTheOrderOfALane) {
  RealClock clock;
  std::vector<int> order;
  {
    ThreadedExecutor executor("t", clock);
    for (int i = 0; i < 100; ++i) {
      executor.Submit(Lane::kCompute, [&order, i] { order.push_back(i); });
    }
  }  // runs what was submitted, then joins
  ASSERT_EQ(order.size(), 100u);
  for (int i = 0; i < 100; ++i) EXPECT_EQ(order[i], i);
}

TEST(ThreadedExecutorTest, LanesRunBesideEachOther) {
  RealClock clock;
  ThreadedExecutor executor("t", clock);
  std::promise<void> copy_ran;
  std::promise<void> compute_ran;
  // The compute lane waits for the copy lane: with one thread for both this would never end.
  executor.Submit(Lane::kCompute, [&] {
    copy_ran.get_future().wait();
    compute_ran.set_value();
  });
  executor.Submit(Lane::kCopy, [&] { copy_ran.set_value(); });
  compute_ran.get_future().wait();
}

TEST(ThreadedExecutorTest, DropsWorkAfterStop) {
  RealClock clock;
  ThreadedExecutor executor("t", clock);
  executor.Stop();
  bool ran = false;
  executor.Submit(Lane::kCopy, [&ran] { ran = true; });
  executor.Stop();
  EXPECT_FALSE(ran);
}

}  // namespace
}  // namespace baton
