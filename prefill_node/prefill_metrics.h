#pragma once

#include <string>

#include "absl/status/status.h"
#include "baton/v1/kv.pb.h"
#include "common/metrics/registry.h"

namespace baton {

// The metrics that a prefill worker writes; those without labels are looked up once.
class PrefillMetrics {
 public:
  // `transport` names what carries the slabs.
  PrefillMetrics(MetricRegistry& registry, const std::string& transport);

  void RequestEnded(absl::StatusCode code);
  // An attempt ended without its KV delivered.
  void TransferFailed(v1::RefuseCode code);

  Gauge& queue_depth;
  Gauge& queued_prompt_tokens;
  Gauge& pages_used;
  Gauge& pages_free;
  Gauge& pages_pending;  // computed, and not taken by a decode worker yet
  Gauge& page_usage;
  Counter& prompt_tokens;
  Counter& prefix_tokens_reused;
  Counter& transfer_bytes;
  Counter& leases_expired;
  Histogram& queue_time;
  Histogram& prefill_time;
  Histogram& transfer_time;
  Histogram& step_time;
  Histogram& batch_size;
  Histogram& batch_tokens;

 private:
  MetricRegistry& registry_;
};

}  // namespace baton
