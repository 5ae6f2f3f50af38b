#include "prefill_node/prefill_metrics.h"

#include "common/metrics/build_info.h"
#include "common/metrics/names.h"

namespace baton {

PrefillMetrics::PrefillMetrics(MetricRegistry& registry, const std::string& transport)
    : queue_depth(registry.GetGauge(metric::kQueueDepth)),
      queued_prompt_tokens(registry.GetGauge(metric::kQueuedPromptTokens)),
      pages_used(registry.GetGauge(metric::kKvBlocksUsed)),
      pages_free(registry.GetGauge(metric::kKvBlocksFree)),
      pages_pending(registry.GetGauge(metric::kKvBlocksPendingTransfer)),
      page_usage(registry.GetGauge(metric::kKvUsage)),
      prompt_tokens(registry.GetCounter(metric::kPromptTokens)),
      prefix_tokens_reused(registry.GetCounter(metric::kPrefixTokensReused)),
      transfer_bytes(registry.GetCounter(metric::kKvTransferBytes, {{"transport", transport}})),
      leases_expired(registry.GetCounter(metric::kKvLeasesExpired)),
      queue_time(registry.GetHistogram(metric::kQueueTime, metric::kLatencyBounds)),
      prefill_time(registry.GetHistogram(metric::kPrefillTime, metric::kLatencyBounds)),
      transfer_time(registry.GetHistogram(metric::kKvTransferTime, metric::kLatencyBounds,
                                          {{"transport", transport}})),
      step_time(registry.GetHistogram(metric::kStepTime, metric::kStepBounds)),
      batch_size(registry.GetHistogram(metric::kBatchSize, metric::kSizeBounds)),
      batch_tokens(registry.GetHistogram(metric::kBatchTokens, metric::kSizeBounds)),
      registry_(registry) {
  ReportBuildInfo(registry);
}

void PrefillMetrics::RequestEnded(absl::StatusCode code) {
  registry_.GetCounter(metric::kRequests, {{"code", absl::StatusCodeToString(code)}}).Add();
}

void PrefillMetrics::TransferFailed(v1::RefuseCode code) {
  // An enum of ours or a number from a peer: only known names become labels.
  const std::string& name = v1::RefuseCode_Name(code);
  registry_.GetCounter(metric::kKvTransferFailures, {{"reason", name.empty() ? "unknown" : name}})
      .Add();
}

}  // namespace baton
