#pragma once

#include <string>

#include "absl/status/status.h"
#include "common/metrics/registry.h"

namespace baton {

// The metrics that a decode worker writes; those without labels are looked up once.
struct DecodeMetrics {
  // `transport` names what carries the slabs.
  DecodeMetrics(MetricRegistry& registry, const std::string& transport);

  void RequestEnded(absl::StatusCode code);

  Gauge& queue_depth;
  Gauge& queued_prompt_tokens;
  Gauge& pages_used;
  Gauge& pages_free;
  Gauge& pages_reserved;
  Gauge& page_usage;
  Counter& generated_tokens;
  Counter& prefix_tokens_reused;
  Counter& transfer_bytes;
  Counter& leases_expired;
  Counter& slabs_invalid;
  Counter& slabs_late;
  Counter& slabs_duplicate;
  Counter& slabs_unknown;
  Counter& transfers_lost;     // stream, lease or prefill worker
  Counter& transfers_corrupt;  // DATA_LOSS and contradictions
  Histogram& queue_time;       // Start to the pages
  Histogram& transfer_time;
  Histogram& step_time;
  Histogram& batch_size;
  Histogram& batch_tokens;
  MetricRegistry& registry;
};

}  // namespace baton
