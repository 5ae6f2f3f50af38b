#pragma once

#include <memory>
#include <optional>

#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mailbox.h"
#include "common/cluster/registry_reporter.h"
#include "common/worker/worker_process.h"

namespace baton {

// What a worker's engine thread does besides its role: keeps readiness up to date, reports to the
// router, and turns the first stop request into a drain and the second into an end. Engine thread
// only; everything it needs is lent.
class ServeLoop {
 public:
  struct Config {
    Duration drain_timeout = std::chrono::seconds(120);
    Duration readiness_period = std::chrono::milliseconds(100);
  };
  // `reporter` may be null: a worker without a router. `set_ready` is called on each change.
  ServeLoop(Config config, const WorkerRole& role, RegistryReporter* reporter, Clock& clock,
            Mailbox& mailbox, Logger& logger, std::function<void(bool ready)> set_ready);

  void Tick();
  // A signal, or a drain command (which counts once).
  void StopRequested(int count);
  bool draining() const { return draining_; }

 private:
  void UpdateReadiness(TimePoint now);

  const Config config_;
  const WorkerRole& role_;
  RegistryReporter* const reporter_;
  Clock& clock_;
  Mailbox& mailbox_;
  Logger& logger_;
  const std::function<void(bool ready)> set_ready_;
  bool draining_ = false;
  bool ready_ = false;
  TimePoint readiness_due_ = TimePoint::min();
};

}  // namespace baton
