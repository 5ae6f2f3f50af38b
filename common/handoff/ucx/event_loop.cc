#include "common/handoff/ucx/event_loop.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "common/base/check.h"
#include "common/base/status.h"

namespace baton::ucx {

absl::StatusOr<std::unique_ptr<EventLoop>> EventLoop::Create() {
  const int epoll_fd = epoll_create1(EPOLL_CLOEXEC);
  const int wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
  std::unique_ptr<EventLoop> loop(new EventLoop(epoll_fd, wake_fd));
  if (epoll_fd < 0 || wake_fd < 0) {
    return ResourceExhausted("event loop: {}", std::strerror(errno));
  }
  BATON_RETURN_IF_ERROR(loop->Watch(wake_fd));
  return loop;
}

EventLoop::~EventLoop() {
  if (epoll_fd_ >= 0) close(epoll_fd_);
  if (wake_fd_ >= 0) close(wake_fd_);
}

bool EventLoop::Post(std::function<void()> command) {
  std::lock_guard lock(mutex_);
  if (closed_) return false;
  commands_.push_back(std::move(command));
  if (commands_.size() == 1) {
    const uint64_t one = 1;
    BATON_CHECK(write(wake_fd_, &one, sizeof one) == sizeof one);
  }
  return true;
}

absl::Status EventLoop::Watch(int fd) {
  epoll_event event{.events = EPOLLIN, .data = {.fd = fd}};
  if (epoll_ctl(epoll_fd_, EPOLL_CTL_ADD, fd, &event) != 0) {
    return Internal("event loop: epoll_ctl: {}", std::strerror(errno));
  }
  return absl::OkStatus();
}

bool EventLoop::RunPosted() {
  std::deque<std::function<void()>> commands;
  {
    std::lock_guard lock(mutex_);
    if (commands_.empty()) return false;
    commands.swap(commands_);
    uint64_t count = 0;
    BATON_CHECK(read(wake_fd_, &count, sizeof count) == sizeof count);
  }
  for (auto& command : commands) command();
  return true;
}

void EventLoop::Wait(Duration timeout) {
  epoll_event event;
  const auto millis = std::chrono::ceil<std::chrono::milliseconds>(timeout).count();
  // An interrupted wait is a spurious wake-up, which callers expect.
  epoll_wait(epoll_fd_, &event, 1, static_cast<int>(millis));
}

void EventLoop::Close() {
  {
    std::lock_guard lock(mutex_);
    closed_ = true;
  }
  RunPosted();
}

}  // namespace baton::ucx
