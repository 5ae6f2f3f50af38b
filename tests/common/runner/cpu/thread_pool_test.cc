#include "common/runner/cpu/thread_pool.h"

#include <gtest/gtest.h>

#include <atomic>
#include <set>
#include <thread>
#include <vector>

namespace baton {
namespace {

TEST(ThreadPool, CallsEachPartOnceAndWaits) {
  for (int threads : {1, 2, 3, 8}) {
    ThreadPool pool(threads);
    EXPECT_EQ(pool.threads(), threads);
    for (int round = 0; round < 50; ++round) {
      std::vector<int> calls(static_cast<size_t>(threads), 0);
      pool.Run([&](int part, int parts) {
        ASSERT_EQ(parts, threads);
        ++calls[static_cast<size_t>(part)];
      });
      for (const int count : calls) EXPECT_EQ(count, 1);
    }
  }
}

TEST(ThreadPool, WritesOfOneRoundAreSeenInTheNext) {
  constexpr int kThreads = 4;
  ThreadPool pool(kThreads);
  std::vector<int64_t> values(kThreads, 0);
  constexpr int kRounds = 300;
  for (int round = 0; round < kRounds; ++round) {
    // Each part reads its neighbour's value of the round before, so every barrier counts.
    std::vector<int64_t> next(kThreads);
    pool.Run([&](int part, int parts) {
      next[static_cast<size_t>(part)] = values[static_cast<size_t>((part + 1) % parts)] + 1;
    });
    values = next;
  }
  for (const int64_t value : values) EXPECT_EQ(value, kRounds);
}

TEST(ThreadPool, TheCallerIsPartZero) {
  ThreadPool pool(3);
  const std::thread::id caller = std::this_thread::get_id();
  std::vector<std::thread::id> ids(3);
  pool.Run([&](int part, int) { ids[static_cast<size_t>(part)] = std::this_thread::get_id(); });
  EXPECT_EQ(ids[0], caller);
  EXPECT_EQ(std::set<std::thread::id>(ids.begin(), ids.end()).size(), 3u);
}

TEST(ThreadPool, SleepingWorkersWakeUp) {
  ThreadPool pool(2);
  std::atomic<int> calls = 0;
  for (int round = 0; round < 5; ++round) {
    // Longer than the spin: the worker sleeps in the kernel when the next round comes.
    const auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(2);
    while (std::chrono::steady_clock::now() < end) {
    }
    pool.Run([&](int, int) { ++calls; });
  }
  EXPECT_EQ(calls, 10);
}

TEST(ThreadPool, EndsWithoutHavingRun) { ThreadPool pool(4); }

}  // namespace
}  // namespace baton
