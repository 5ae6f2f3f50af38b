#include "decode_node/decode_metrics.h"

#include "common/metrics/build_info.h"
#include "common/metrics/names.h"

namespace baton {

DecodeMetrics::DecodeMetrics(MetricRegistry& registry, const std::string& transport)
    : queue_depth(registry.GetGauge(metric::kQueueDepth)),
      queued_prompt_tokens(registry.GetGauge(metric::kQueuedPromptTokens)),
      pages_used(registry.GetGauge(metric::kKvBlocksUsed)),
      pages_free(registry.GetGauge(metric::kKvBlocksFree)),
      pages_reserved(registry.GetGauge(metric::kKvBlocksReserved)),
      page_usage(registry.GetGauge(metric::kKvUsage)),
      generated_tokens(registry.GetCounter(metric::kGeneratedTokens)),
      prefix_tokens_reused(registry.GetCounter(metric::kPrefixTokensReused)),
      transfer_bytes(registry.GetCounter(metric::kKvTransferBytes, {{"transport", transport}})),
      leases_expired(registry.GetCounter(metric::kKvLeasesExpired)),
      slabs_invalid(registry.GetCounter(metric::kKvValidationFailures)),
      slabs_late(registry.GetCounter(metric::kKvSlabsDropped, {{"reason", "late"}})),
      slabs_duplicate(registry.GetCounter(metric::kKvSlabsDropped, {{"reason", "duplicate"}})),
      slabs_unknown(registry.GetCounter(metric::kKvSlabsDropped, {{"reason", "unknown"}})),
      transfers_lost(registry.GetCounter(metric::kKvTransferFailures, {{"reason", "lost"}})),
      transfers_corrupt(registry.GetCounter(metric::kKvTransferFailures, {{"reason", "corrupt"}})),
      queue_time(registry.GetHistogram(metric::kQueueTime, metric::kLatencyBounds)),
      transfer_time(registry.GetHistogram(metric::kKvTransferTime, metric::kLatencyBounds,
                                          {{"transport", transport}})),
      step_time(registry.GetHistogram(metric::kStepTime, metric::kStepBounds)),
      batch_size(registry.GetHistogram(metric::kBatchSize, metric::kSizeBounds)),
      batch_tokens(registry.GetHistogram(metric::kBatchTokens, metric::kSizeBounds)),
      registry(registry) {
  ReportBuildInfo(registry);
}

void DecodeMetrics::RequestEnded(absl::StatusCode code) {
  registry.GetCounter(metric::kRequests, {{"code", absl::StatusCodeToString(code)}}).Add();
}

}  // namespace baton
