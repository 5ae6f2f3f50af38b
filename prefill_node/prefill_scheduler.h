#pragma once

#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "common/base/clock.h"
#include "common/base/mailbox.h"
#include "common/engine/executor.h"
#include "common/engine/model_runner.h"
#include "common/engine/step_loop.h"
#include "common/kv/page_pool.h"
#include "prefill_node/page_reclaim.h"
#include "prefill_node/prefill_job.h"
#include "prefill_node/prefill_metrics.h"
#include "prefill_node/prefill_policy.h"

namespace baton {

// Decides when the prompts of a prefill worker are computed and which pages they get: asks the
// policy, takes pages (prefix match first), runs the steps, and makes room by displacing requests
// that no decode worker has granted (ChooseDisplaced).
//
// Threading: engine thread. Jobs are lent between Add and Remove.
class PrefillScheduler {
 public:
  struct Config {
    std::string producer;    // serialized KvProducer of this worker
    int chunk_tokens = 256;  // computed in one step, over all requests
    int max_batch = 64;      // requests in one step
    bool prefix_cache = true;
  };
  struct Events {
    // Whether the job ends without waiting for a decode worker's grant.
    std::function<bool(const PrefillJob&)> secured;
    // Job's computed() has grown; `sampled` comes with the last token unless it is forced.
    std::function<void(PrefillJob&, std::optional<SampledToken>)> progressed;
    // The job's pages are wanted: the receiver removes it.
    std::function<void(PrefillJob&)> displaced;
    std::function<void(const absl::Status&)> device_failed;
  };

  PrefillScheduler(Config config, ModelRunner& runner, Executor& executor, Mailbox& mailbox,
                   Clock& clock, PrefillMetrics& metrics, Events events);

  void Add(PrefillJob& job) { jobs_.emplace(job.key, &job); }
  // Gives the job's pages up; a step in flight keeps them until it ends.
  void Remove(PrefillJob& job);
  // Starts the next step when none is in flight and there is work. May report `displaced`, and
  // `progressed` for jobs whose prefix was cached.
  void Schedule();

  // Jobs that wait for pages, and their prompt tokens.
  int waiting() const;
  int64_t waiting_tokens() const;
  bool step_in_flight() const { return steps_.busy(); }
  int64_t steps() const { return steps_.steps(); }
  const PagePool& pages() const { return pool_; }
  void DropCache() { pool_.DropCache(); }

 private:
  std::vector<PrefillJob*> Waiting() const;  // in the order in which they get pages
  // What the beginning of the prompt finds in the cache.
  struct CacheHit {
    int pages = 0;
    int unused = 0;  // of them held by the cache only: taking them leaves fewer to take
  };
  CacheHit LookUp(const PrefillJob& job);
  // Pages that the job takes out of available() when it starts.
  int PagesNeeded(const PrefillJob& job, const CacheHit& hit) const;
  EngineSnapshot Snapshot(const std::vector<PrefillJob*>& waiting);
  // Displaces others when the first in line needs more than `available` pages.
  void MakeRoom(int available);
  void StartStep(std::vector<StepEntry> entries);
  bool TakePages(PrefillJob& job);
  PrefixScope ScopeOf(const PrefillJob& job) const;
  void OnStep(absl::StatusOr<std::vector<StepOutcome>> outcomes);

  const Config config_;
  Clock& clock_;
  PrefillMetrics& metrics_;
  const Events events_;
  const PrefillPolicy policy_;
  PagePool pool_;
  StepLoop steps_;
  TimePoint step_started_;
  std::map<SequenceKey, PrefillJob*> jobs_;
};

}  // namespace baton
