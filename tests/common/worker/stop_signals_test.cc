#include "common/worker/stop_signals.h"

#include <gtest/gtest.h>
#include <signal.h>
#include <unistd.h>

#include <condition_variable>
#include <mutex>

namespace baton {
namespace {

TEST(StopSignalsTest, CountsSignalsOnItsOwnThread) {
  auto signals = StopSignals::Create();
  ASSERT_TRUE(signals.ok());
  std::mutex mutex;
  std::condition_variable changed;
  int seen = 0;
  kill(getpid(), SIGTERM);  // before Watch: waits for it
  (*signals)->Watch([&](int count) {
    std::lock_guard lock(mutex);
    seen = count;
    changed.notify_all();
  });
  std::unique_lock lock(mutex);
  changed.wait(lock, [&] { return seen == 1; });
  kill(getpid(), SIGINT);
  changed.wait(lock, [&] { return seen == 2; });
}

TEST(StopSignalsTest, EndsWithoutASignal) {
  auto signals = StopSignals::Create();
  ASSERT_TRUE(signals.ok());
  (*signals)->Watch([](int) {});
}

}  // namespace
}  // namespace baton
