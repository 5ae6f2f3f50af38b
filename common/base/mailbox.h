#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>

#include "common/base/clock.h"

namespace baton {

// The inbox of a component that is owned by one thread. Others post closures; the owner runs them
// in order. In production one thread calls Run; a test calls RunOne and decides what happens next.
//
// Bounds: what arrives is bounded by its source (streams have bounded queues, work in flight is
// limited by the plan), so Post never refuses before Stop.
class Mailbox {
 public:
  explicit Mailbox(Clock& clock) : clock_(clock) {}

  // Thread-safe, never blocks. After Stop the closure is dropped.
  void Post(std::function<void()> event);

  // Runs the oldest event; false when there is none.
  bool RunOne();
  // Runs events until there is none; returns how many.
  int RunAll();
  // Runs events until Stop; calls `tick` after each batch of events and at least every `period`.
  void Run(Duration period, const std::function<void()>& tick);
  // Makes Run return after the current batch and drops later events. Thread-safe.
  void Stop();

 private:
  Clock& clock_;
  std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<std::function<void()>> events_;  // guarded by mutex_
  bool stopped_ = false;                      // guarded by mutex_
};

}  // namespace baton
