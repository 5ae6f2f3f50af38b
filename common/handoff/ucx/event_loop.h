#pragma once

#include <deque>
#include <functional>
#include <memory>
#include <mutex>

#include "absl/status/statusor.h"
#include "common/base/clock.h"

namespace baton::ucx {

// How other threads reach the transport thread: a queue of closures, and a wait that ends when
// something was posted or a watched descriptor is readable.
class EventLoop {
 public:
  static absl::StatusOr<std::unique_ptr<EventLoop>> Create();
  ~EventLoop();

  // Thread-safe. False, and the closure is dropped, after Close.
  [[nodiscard]] bool Post(std::function<void()> command);

  // The rest belongs to the transport thread.
  absl::Status Watch(int fd);
  // Runs what was posted before the call; false when there was nothing.
  bool RunPosted();
  void Wait(Duration timeout);
  // Refuses later posts and runs the ones that are there.
  void Close();

 private:
  EventLoop(int epoll_fd, int wake_fd) : epoll_fd_(epoll_fd), wake_fd_(wake_fd) {}

  const int epoll_fd_;
  const int wake_fd_;  // eventfd, readable while the queue is not empty
  std::mutex mutex_;
  std::deque<std::function<void()>> commands_;  // guarded by mutex_
  bool closed_ = false;                         // guarded by mutex_
};

}  // namespace baton::ucx
