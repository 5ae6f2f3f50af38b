#include "common/cluster/registry_reporter.h"

#include <algorithm>
#include <utility>

#include "common/base/status.h"

namespace baton {

RegistryReporter::RegistryReporter(Config config, Opener opener, Mailbox& mailbox, Logger& logger,
                                   std::function<v1::LoadReport()> load,
                                   std::function<void()> on_drain)
    : config_(std::move(config)),
      opener_(std::move(opener)),
      mailbox_(mailbox),
      logger_(logger),
      load_(std::move(load)),
      on_drain_(std::move(on_drain)),
      backoff_(config_.min_backoff),
      rng_(config_.jitter_seed),
      self_(std::make_shared<RegistryReporter*>(this)) {}

RegistryReporter::~RegistryReporter() { Stop(); }

void RegistryReporter::Tick(TimePoint now) {
  now_ = now;
  if (state_ == State::kStopped) return;
  if (state_ == State::kWaiting) {
    if (now < connect_due_) return;
    Connect(now);
  }
  if (state_ == State::kGreeting && now >= accept_due_) {
    Disconnected(DeadlineExceeded("the router did not answer the hello"));
    return;
  }
  if (now >= report_due_) {
    report_due_ = now + config_.report_interval;
    v1::RegisterRequest report;
    *report.mutable_load() = load_();
    // A failed send is followed by StreamClosed, which reconnects.
    stream_->Send(std::move(report)).IgnoreError();
  }
}

void RegistryReporter::Connect(TimePoint now) {
  const uint64_t number = ++stream_number_;
  state_ = State::kGreeting;
  accept_due_ = now + config_.accept_timeout;
  report_due_ = now;
  stream_ = opener_(config_.router_endpoint, TimePoint::max(),
                    [&mailbox = mailbox_, self = std::weak_ptr<RegistryReporter*>(self_),
                     number](StreamEvent<v1::RegisterResponse> event) {
                      mailbox.Post([self, number, event = std::move(event)]() mutable {
                        if (auto alive = self.lock()) (*alive)->OnEvent(number, std::move(event));
                      });
                    });
  v1::RegisterRequest hello;
  *hello.mutable_hello() = config_.descriptor;
  stream_->Send(std::move(hello)).IgnoreError();
}

void RegistryReporter::OnEvent(uint64_t stream, StreamEvent<v1::RegisterResponse> event) {
  if (stream != stream_number_ || stream_ == nullptr) return;
  if (const auto* closed = std::get_if<StreamClosed>(&event)) {
    Disconnected(closed->status.ok() ? Unavailable("the router ended the stream") : closed->status);
    return;
  }
  const auto& message = std::get<v1::RegisterResponse>(event);
  switch (message.message_case()) {
    case v1::RegisterResponse::kAccepted:
      if (state_ != State::kGreeting) break;
      state_ = State::kRegistered;
      backoff_ = config_.min_backoff;
      logger_.Info("registered", {{"router", config_.router_endpoint},
                                  {"router_id", message.accepted().router_id()}});
      break;
    case v1::RegisterResponse::kDrain:
      on_drain_();
      break;
    case v1::RegisterResponse::MESSAGE_NOT_SET:
      Disconnected(InvalidArgument("message: not set, expected accepted or drain"));
      break;
  }
}

void RegistryReporter::Disconnected(const absl::Status& status) {
  stream_.reset();
  state_ = State::kWaiting;
  const double jitter = std::uniform_real_distribution<double>(0.8, 1.2)(rng_);
  connect_due_ = now_ + std::chrono::duration_cast<Duration>(backoff_ * jitter);
  logger_.Warning("router_lost", {{"router", config_.router_endpoint},
                                  {"status", ToString(status)},
                                  {"retry_ms", Milliseconds(connect_due_ - now_)}});
  backoff_ = std::min(backoff_ * 2, config_.max_backoff);
}

void RegistryReporter::Stop() {
  if (state_ == State::kStopped) return;
  state_ = State::kStopped;
  self_.reset();
  if (stream_ != nullptr) stream_->Close(absl::OkStatus());
  stream_.reset();
}

}  // namespace baton
