#include "router/router_metrics.h"

#include "common/metrics/names.h"

namespace baton {
namespace {

double FromMs(double milliseconds) { return milliseconds / 1000; }

}  // namespace

RouterMetrics::RouterMetrics(MetricRegistry& registry)
    : registry_(registry),
      in_flight_(registry.GetGauge(metric::kRequestsInFlight)),
      queue_depth_(registry.GetGauge(metric::kQueueDepth)),
      prompt_tokens_(registry.GetCounter(metric::kPromptTokens)),
      generated_tokens_(registry.GetCounter(metric::kGeneratedTokens)),
      retries_(registry.GetCounter(metric::kRetries, {{"phase", "handover"}})),
      queue_time_(registry.GetHistogram(metric::kQueueTime, metric::kLatencyBounds)),
      prefill_time_(registry.GetHistogram(metric::kPrefillTime, metric::kLatencyBounds)),
      ttft_(registry.GetHistogram(metric::kTimeToFirstToken, metric::kLatencyBounds)),
      itl_(registry.GetHistogram(metric::kInterTokenLatency, metric::kStepBounds)),
      tpot_(registry.GetHistogram(metric::kTimePerOutputToken, metric::kStepBounds)),
      e2e_(registry.GetHistogram(metric::kEndToEnd, metric::kLatencyBounds)) {
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
    registry_
        .GetCounter(metric::kCancellations,
                    {{"phase", tokens == 0 ? "before_first_token" : "decode"}})
        .Add();
  }
}

void RouterMetrics::SetLoad(size_t live, size_t queued) {
  in_flight_.Set(static_cast<double>(live));
  queue_depth_.Set(static_cast<double>(queued));
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
