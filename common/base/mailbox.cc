#include "common/base/mailbox.h"

#include <utility>

namespace baton {

void Mailbox::Post(std::function<void()> event) {
  {
    std::lock_guard lock(mutex_);
    if (stopped_) return;
    events_.push_back(std::move(event));
  }
  ready_.notify_one();
}

bool Mailbox::RunOne() {
  std::function<void()> event;
  {
    std::lock_guard lock(mutex_);
    if (events_.empty()) return false;
    event = std::move(events_.front());
    events_.pop_front();
  }
  event();
  return true;
}

int Mailbox::RunAll() {
  int count = 0;
  while (RunOne()) ++count;
  return count;
}

void Mailbox::Run(Duration period, const std::function<void()>& tick) {
  std::unique_lock lock(mutex_);
  TimePoint next_tick = clock_.Now() + period;
  while (!stopped_) {
    while (events_.empty() && !stopped_ && clock_.Now() < next_tick) {
      clock_.WaitUntil(ready_, lock, next_tick);
    }
    std::deque<std::function<void()>> batch = std::exchange(events_, {});
    lock.unlock();
    for (auto& event : batch) event();
    batch.clear();
    tick();
    if (clock_.Now() >= next_tick) next_tick = clock_.Now() + period;
    lock.lock();
  }
}

void Mailbox::Stop() {
  std::deque<std::function<void()>> dropped;
  {
    std::lock_guard lock(mutex_);
    stopped_ = true;
    dropped = std::exchange(events_, {});
  }
  ready_.notify_all();
}

}  // namespace baton
