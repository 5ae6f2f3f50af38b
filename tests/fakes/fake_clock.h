#pragma once

#include <condition_variable>
#include <mutex>

#include "common/base/clock.h"

namespace baton {

// A clock that moves only when told to. Thread-safe.
class FakeClock : public Clock {
 public:
  TimePoint Now() const override {
    std::lock_guard lock(mutex_);
    return now_;
  }
  void WaitUntil(std::condition_variable& cv, std::unique_lock<std::mutex>& lock,
                 TimePoint deadline) override {
    // A waiter polls real time in short slices: Advance cannot know whom to notify.
    if (Now() < deadline) cv.wait_for(lock, std::chrono::milliseconds(1));
  }
  void Advance(Duration d) {
    std::lock_guard lock(mutex_);
    now_ += d;
  }

 private:
  mutable std::mutex mutex_;
  TimePoint now_{std::chrono::hours(1)};  // guarded by mutex_
};

}  // namespace baton
