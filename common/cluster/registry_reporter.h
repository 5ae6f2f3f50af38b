#pragma once

#include <functional>
#include <memory>
#include <random>
#include <string>

#include "baton/v1/registry.pb.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mailbox.h"
#include "common/stream/event_stream.h"

namespace baton {

// A worker's side of the registry conversation: keeps one Register stream to the router, says hello
// on each new one, reports load, and passes the router's commands on (README.md has the diagram).
//
// Threading: owned by the thread that runs the Mailbox; stream events arrive through it. Time comes
// in with Tick, which the owner calls at least every report interval.
class RegistryReporter {
 public:
  struct Config {
    v1::WorkerDescriptor descriptor;
    std::string router_endpoint;
    Duration report_interval = std::chrono::milliseconds(500);
    Duration accept_timeout = std::chrono::seconds(5);  // hello to the router's answer
    Duration min_backoff = std::chrono::milliseconds(100);
    Duration max_backoff = std::chrono::seconds(5);
    uint64_t jitter_seed = 0;  // spreads the reconnects of many workers by up to 20 %
  };
  using Opener = StreamOpener<v1::RegisterRequest, v1::RegisterResponse>;

  // `load` is asked at each report, `on_drain` called at each drain command; both on the owner's
  // thread. `mailbox` and `logger` outlive the reporter.
  RegistryReporter(Config config, Opener opener, Mailbox& mailbox, Logger& logger,
                   std::function<v1::LoadReport()> load, std::function<void()> on_drain);
  ~RegistryReporter();

  // Connects, reconnects after the backoff, reports when due.
  void Tick(TimePoint now);
  // Reports at the next Tick whatever the interval (readiness or draining changed).
  void ReportSoon() { report_due_ = TimePoint::min(); }
  // Ends the stream in good order and stays away. Idempotent.
  void Stop();

  // The router answered the hello of the present stream.
  bool registered() const { return state_ == State::kRegistered; }

 private:
  enum class State { kWaiting, kGreeting, kRegistered, kStopped };

  void Connect(TimePoint now);
  void OnEvent(uint64_t stream, StreamEvent<v1::RegisterResponse> event);
  void Disconnected(const absl::Status& status);

  const Config config_;
  const Opener opener_;
  Mailbox& mailbox_;
  Logger& logger_;
  const std::function<v1::LoadReport()> load_;
  const std::function<void()> on_drain_;

  State state_ = State::kWaiting;
  uint64_t stream_number_ = 0;  // of the present stream: events of former ones are dropped
  std::unique_ptr<EventStream<v1::RegisterRequest, v1::RegisterResponse>> stream_;
  TimePoint now_ = TimePoint::min();
  TimePoint connect_due_ = TimePoint::min();
  TimePoint accept_due_ = TimePoint::max();
  TimePoint report_due_ = TimePoint::min();
  Duration backoff_;
  std::mt19937_64 rng_;
  std::shared_ptr<RegistryReporter*> self_;  // cleared by the destructor; events hold it weakly
};

}  // namespace baton
