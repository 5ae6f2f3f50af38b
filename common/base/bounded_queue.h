#pragma once

#include <condition_variable>
#include <cstddef>
#include <deque>
#include <mutex>
#include <optional>
#include <utility>
#include <vector>

#include "common/base/clock.h"

namespace baton {

// Multi-producer, multi-consumer queue with a bound. Thread-safe. After Close, Push refuses and
// pops return what is left, then nothing.
template <typename T>
class BoundedQueue {
 public:
  BoundedQueue(size_t capacity, Clock& clock) : capacity_(capacity), clock_(clock) {}

  // False when the queue is full or closed; never blocks. `item` is consumed only on success.
  [[nodiscard]] bool TryPush(T&& item) {
    {
      std::lock_guard lock(mutex_);
      if (closed_ || items_.size() >= capacity_) return false;
      items_.push_back(std::move(item));
    }
    ready_.notify_one();
    return true;
  }

  // For events whose number is bounded elsewhere and that must not be lost; false only when closed.
  bool Push(T item) {
    {
      std::lock_guard lock(mutex_);
      if (closed_) return false;
      items_.push_back(std::move(item));
    }
    ready_.notify_one();
    return true;
  }

  // Waits until an item is there, the deadline has passed or the queue is closed and empty.
  std::optional<T> PopUntil(TimePoint deadline) {
    std::unique_lock lock(mutex_);
    while (items_.empty() && !closed_ && clock_.Now() < deadline) {
      clock_.WaitUntil(ready_, lock, deadline);
    }
    if (items_.empty()) return std::nullopt;
    T item = std::move(items_.front());
    items_.pop_front();
    return item;
  }

  // As PopUntil, but takes everything that is there: one lock per batch of events.
  std::deque<T> PopAllUntil(TimePoint deadline) {
    std::unique_lock lock(mutex_);
    while (items_.empty() && !closed_ && clock_.Now() < deadline) {
      clock_.WaitUntil(ready_, lock, deadline);
    }
    return std::exchange(items_, {});
  }

  void Close() {
    {
      std::lock_guard lock(mutex_);
      closed_ = true;
    }
    ready_.notify_all();
  }

  bool closed() const {
    std::lock_guard lock(mutex_);
    return closed_;
  }

  size_t size() const {
    std::lock_guard lock(mutex_);
    return items_.size();
  }

 private:
  const size_t capacity_;
  Clock& clock_;
  mutable std::mutex mutex_;
  std::condition_variable ready_;
  std::deque<T> items_;  // guarded by mutex_
  bool closed_ = false;  // guarded by mutex_
};

}  // namespace baton
