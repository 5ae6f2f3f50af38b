#pragma once

#include "common/engine/scheduler_policy.h"

namespace baton {

// Chunked prefill, first come first served: fills the step's token budget with the sequences in the
// order of the snapshot, several in one step where the budget allows. A sequence that waits for
// pages is never overtaken by a later one that waits, but those that hold pages go on.
class PrefillPolicy : public SchedulerPolicy {
 public:
  StepPlan Plan(const EngineSnapshot& snapshot) const override;
};

}  // namespace baton
