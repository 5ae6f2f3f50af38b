#include "common/worker/serve_loop.h"

#include <utility>

namespace baton {

ServeLoop::ServeLoop(Config config, const WorkerRole& role, RegistryReporter* reporter,
                     Clock& clock, Mailbox& mailbox, Logger& logger,
                     std::function<void(bool ready)> set_ready)
    : config_(config),
      role_(role),
      reporter_(reporter),
      clock_(clock),
      mailbox_(mailbox),
      logger_(logger),
      set_ready_(std::move(set_ready)) {}

void ServeLoop::Tick() {
  role_.tick();
  const TimePoint now = clock_.Now();
  if (reporter_ != nullptr) reporter_->Tick(now);
  if (now >= readiness_due_) UpdateReadiness(now);
  if (draining_ && role_.drained()) {
    logger_.Info("drain.done");
    mailbox_.Stop();
  }
}

void ServeLoop::StopRequested(int count) {
  if (count > 1) {
    logger_.Info("stop");
    return mailbox_.Stop();
  }
  if (draining_) return;
  draining_ = true;
  logger_.Info("drain.begin", {{"timeout_s", Seconds(config_.drain_timeout)}});
  role_.drain(clock_.Now() + config_.drain_timeout);
  if (reporter_ != nullptr) reporter_->ReportSoon();
  UpdateReadiness(clock_.Now());
}

void ServeLoop::UpdateReadiness(TimePoint now) {
  readiness_due_ = now + config_.readiness_period;
  const bool ready =
      !draining_ && role_.load().ready() && (reporter_ == nullptr || reporter_->registered());
  if (ready == ready_) return;
  ready_ = ready;
  logger_.Info(ready ? "ready" : "not_ready");
  set_ready_(ready);
}

}  // namespace baton
