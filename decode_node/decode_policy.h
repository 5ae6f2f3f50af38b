#pragma once

#include "common/engine/scheduler_policy.h"

namespace baton {

// Continuous batching: every step takes the oldest sequences, up to the batch; a place that becomes
// free is taken in the next step.
class DecodePolicy : public SchedulerPolicy {
 public:
  StepPlan Plan(const EngineSnapshot& snapshot) const override;
};

}  // namespace baton
