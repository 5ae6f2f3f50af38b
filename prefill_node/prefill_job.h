#pragma once

#include <optional>
#include <utility>

#include "common/base/clock.h"
#include "common/engine/scheduler_policy.h"
#include "common/engine/sequence.h"
#include "common/kv/page_table.h"
#include "prefill_node/admission.h"

namespace baton {

// One accepted request on a prefill worker. Plain state, owned by PrefillWorker; the scheduler
// changes `sequence`, `pages` and the times of computing.
struct PrefillJob {
  PrefillJob(SequenceKey key, PrefillTask task, TimePoint arrived)
      : key(key),
        id(task.id),
        attempt(task.attempt),
        sequence(std::move(task.request)),
        decode(std::move(task.decode)),
        forced(std::move(task.forced)),
        arrived(arrived) {}

  bool waits_for_pages() const { return pages.empty(); }
  bool computed() const { return sequence.computed() == sequence.prompt_tokens(); }

  const SequenceKey key;  // order of arrival
  const TransferId id;
  uint32_t attempt;
  Sequence sequence;  // the prompt only: the first output token belongs to the decode worker
  PageTable pages;    // all of the prompt's from the first step on, none before
  std::optional<DecodeAddress> decode;
  std::optional<FirstOutput> forced;
  std::optional<FirstOutput> first;  // set when the prompt is computed
  int cached_tokens = 0;             // not computed here
  const TimePoint arrived;
  TimePoint computing_since;  // start of the first step
  TimePoint computed_at;      // end of the last one
  TimePoint opened;           // the present attempt's Open
  Duration pack_time{0};      // of attempts that have ended
};

}  // namespace baton
