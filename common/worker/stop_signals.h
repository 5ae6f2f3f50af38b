#pragma once

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "common/base/thread.h"

namespace baton {

// SIGTERM and SIGINT as calls on a thread of their own instead of interruptions.
class StopSignals {
 public:
  // Blocks both for the calling thread and all it starts later: create it first in main.
  static absl::StatusOr<std::unique_ptr<StopSignals>> Create();
  ~StopSignals();  // no call runs any more afterwards
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // Calls `on_signal` with 1, 2, … for each signal, those before Watch included. At most once.
  void Watch(std::function<void(int count)> on_signal);

 private:
  StopSignals(int signals, int wake) : signals_(signals), wake_(wake) {}
  void Loop(const std::function<void(int count)>& on_signal);

  const int signals_;  // signalfd
  const int wake_;     // eventfd; readable when the thread has to end
  Thread thread_;
};

}  // namespace baton
