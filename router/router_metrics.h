#pragma once

#include <map>
#include <string>
#include <utility>

#include "absl/status/status.h"
#include "baton/v1/inference.pb.h"
#include "common/cluster/membership.h"
#include "common/metrics/registry.h"

namespace baton {

// The metrics that a router reports (common/metrics/names.h). Owned by the router's thread; the
// registry outlives it.
class RouterMetrics {
 public:
  explicit RouterMetrics(MetricRegistry& registry);

  // A request ended, admitted or not.
  void Ended(const absl::Status& status);
  // Figures of one that ended well.
  void Completed(const v1::Complete& complete);
  // An admitted one ended, with what it cost.
  void Settled(uint32_t retries, uint32_t tokens, const absl::Status& status);
  void SetLoad(size_t live, size_t queued, uint64_t queued_prompt_tokens);
  void SetWorkers(const ClusterSnapshot& snapshot);
  void SetProbeDivergence(double distance);

 private:
  MetricRegistry& registry_;
  Gauge& in_flight_;
  Gauge& queue_depth_;
  Gauge& queued_prompt_tokens_;
  Counter& prompt_tokens_;
  Counter& generated_tokens_;
  Counter& retries_;
  Counter& cancelled_early_;  // before the first token
  Counter& cancelled_late_;
  Histogram& queue_time_;
  Histogram& prefill_time_;
  Histogram& ttft_;
  Histogram& itl_;
  Histogram& tpot_;
  Histogram& e2e_;
  std::map<absl::StatusCode, Counter*> by_code_;
  std::map<std::pair<v1::Role, WorkerState>, Gauge*> workers_;
};

}  // namespace baton
