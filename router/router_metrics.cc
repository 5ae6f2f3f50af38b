#include "router/router_metrics.h"

#include "common/metrics/build_info.h"
#include "common/metrics/names.h"

namespace baton {
namespace {

double FromMs(double milliseconds) { return milliseconds / 1000; }

// Who has to look after a failure: the client, the operator (capacity, workers, contracts), or us.
// Null: none.
const char* ReasonOf(absl::StatusCode code) {
  switch (code) {
    case absl::StatusCode::kOk:
    case absl::StatusCode::kCancelled:
      return nullptr;
    case absl::StatusCode::kInvalidArgument:
    case absl::StatusCode::kOutOfRange:
    case absl::StatusCode::kNotFound:
    case absl::StatusCode::kAlreadyExists:
    case absl::StatusCode::kUnimplemented:
      return "request";
    case absl::StatusCode::kResourceExhausted:
      return "overload";
    case absl::StatusCode::kDeadlineExceeded:
      return "deadline";
    case absl::StatusCode::kFailedPrecondition:
      return "contract";
    case absl::StatusCode::kUnavailable:
    case absl::StatusCode::kAborted:
      return "worker";
    case absl::StatusCode::kDataLoss:
      return "data_loss";
    default:
      return "internal";
  }
}

}  // namespace

RouterMetrics::RouterMetrics(MetricRegistry& registry)
    : registry_(registry),
      in_flight_(registry.GetGauge(metric::kRequestsInFlight)),
      queue_depth_(registry.GetGauge(metric::kQueueDepth)),
      queued_prompt_tokens_(registry.GetGauge(metric::kQueuedPromptTokens)),
      prompt_tokens_(registry.GetCounter(metric::kPromptTokens)),
      generated_tokens_(registry.GetCounter(metric::kGeneratedTokens)),
      retries_(registry.GetCounter(metric::kRetries, {{"phase", "handover"}})),
      cancelled_early_(
          registry.GetCounter(metric::kCancellations, {{"phase", "before_first_token"}})),
      cancelled_late_(registry.GetCounter(metric::kCancellations, {{"phase", "decode"}})),
      queue_time_(registry.GetHistogram(metric::kQueueTime, metric::kLatencyBounds)),
      prefill_time_(registry.GetHistogram(metric::kPrefillTime, metric::kLatencyBounds)),
      ttft_(registry.GetHistogram(metric::kTimeToFirstToken, metric::kLatencyBounds)),
      itl_(registry.GetHistogram(metric::kInterTokenLatency, metric::kStepBounds)),
      tpot_(registry.GetHistogram(metric::kTimePerOutputToken, metric::kStepBounds)),
      e2e_(registry.GetHistogram(metric::kEndToEnd, metric::kLatencyBounds)) {
  ReportBuildInfo(registry);
  for (const v1::Role role : {v1::ROLE_PREFILL, v1::ROLE_DECODE}) {
    for (const WorkerState state :
         {WorkerState::kStarting, WorkerState::kReady, WorkerState::kSuspect,
          WorkerState::kDraining, WorkerState::kLost}) {
      workers_[{role, state}] = &registry.GetGauge(
          metric::kWorkers, {{"worker_role", role == v1::ROLE_PREFILL ? "prefill" : "decode"},
                             {"state", std::string(ToString(state))}});
    }
  }
}

void RouterMetrics::Ended(const absl::Status& status) {
  Counter*& counter = by_code_[status.code()];
  if (counter == nullptr) {
    counter = &registry_.GetCounter(metric::kRequests,
                                    {{"code", absl::StatusCodeToString(status.code())}});
  }
  counter->Add();
  if (const char* reason = ReasonOf(status.code())) {
    registry_.GetCounter(metric::kRequestErrors, {{"reason", reason}}).Add();
  }
}

void RouterMetrics::Completed(const v1::Complete& complete) {
  const v1::Timing& timing = complete.timing();
  prompt_tokens_.Add(complete.usage().prompt_tokens());
  queue_time_.Observe(FromMs(timing.queue_ms()));
  prefill_time_.Observe(FromMs(timing.prefill_ms()));
  ttft_.Observe(FromMs(timing.ttft_ms()));
  e2e_.Observe(FromMs(timing.e2e_ms()));
  for (double gap : timing.itl_ms()) itl_.Observe(FromMs(gap));
  if (timing.itl_ms_size() > 0) {
    tpot_.Observe(FromMs(timing.e2e_ms() - timing.ttft_ms()) / timing.itl_ms_size());
  }
}

void RouterMetrics::Settled(uint32_t retries, uint32_t tokens, const absl::Status& status) {
  retries_.Add(retries);
  generated_tokens_.Add(tokens);
  if (status.code() == absl::StatusCode::kCancelled) {
    (tokens == 0 ? cancelled_early_ : cancelled_late_).Add();
  }
}

void RouterMetrics::SetLoad(size_t live, size_t queued, uint64_t queued_prompt_tokens) {
  in_flight_.Set(static_cast<double>(live));
  queue_depth_.Set(static_cast<double>(queued));
  queued_prompt_tokens_.Set(static_cast<double>(queued_prompt_tokens));
}

void RouterMetrics::SetProbeDivergence(double distance) {
  registry_.GetGauge(metric::kModelProbeDivergence).Set(distance);
}

void RouterMetrics::SetWorkers(const ClusterSnapshot& snapshot) {
  for (auto& [key, gauge] : workers_) {
    int count = 0;
    for (const WorkerView& view : *snapshot) {
      count += std::make_pair(view.descriptor->role(), view.state) == key;
    }
    gauge->Set(count);
  }
}

}  // namespace baton
