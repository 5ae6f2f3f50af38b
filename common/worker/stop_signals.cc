#include "common/worker/stop_signals.h"

#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "common/base/status.h"

namespace baton {

absl::StatusOr<std::unique_ptr<StopSignals>> StopSignals::Create() {
  sigset_t set;
  sigemptyset(&set);
  sigaddset(&set, SIGTERM);
  sigaddset(&set, SIGINT);
  pthread_sigmask(SIG_BLOCK, &set, nullptr);
  const int signals = signalfd(-1, &set, SFD_CLOEXEC);
  const int wake = eventfd(0, EFD_CLOEXEC);
  if (signals < 0 || wake < 0) {
    const int error = errno;
    if (signals >= 0) close(signals);
    if (wake >= 0) close(wake);
    return Internal("signalfd or eventfd: {}", std::strerror(error));
  }
  return std::unique_ptr<StopSignals>(new StopSignals(signals, wake));
}

StopSignals::~StopSignals() {
  eventfd_write(wake_, 1);
  thread_.Join();
  close(signals_);
  close(wake_);
}

void StopSignals::Watch(std::function<void(int count)> on_signal) {
  thread_ = Thread("signals", [this, on_signal = std::move(on_signal)] { Loop(on_signal); });
}

void StopSignals::Loop(const std::function<void(int count)>& on_signal) {
  int count = 0;
  pollfd fds[] = {{signals_, POLLIN, 0}, {wake_, POLLIN, 0}};
  while (true) {
    if (poll(fds, 2, -1) < 0) {
      if (errno == EINTR) continue;
      return;
    }
    if (fds[1].revents != 0) return;
    signalfd_siginfo info;
    if (read(signals_, &info, sizeof(info)) == static_cast<ssize_t>(sizeof(info))) {
      on_signal(++count);
    }
  }
}

}  // namespace baton
