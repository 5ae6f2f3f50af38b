#include "prefill_node/prefill_policy.h"

#include <algorithm>

namespace baton {

StepPlan PrefillPolicy::Plan(const EngineSnapshot& snapshot) const {
  StepPlan plan;
  int budget = snapshot.max_step_tokens;
  int pages = snapshot.pages_available;
  bool blocked = false;
  for (const SequenceView& sequence : snapshot.sequences) {
    if (budget <= 0 || static_cast<int>(plan.entries.size()) >= snapshot.max_batch) break;
    if (!sequence.holds_pages) {
      blocked = blocked || sequence.pages_needed > pages;
      if (blocked) continue;
      pages -= sequence.pages_needed;
      plan.admit.push_back(sequence.key);
    }
    const int tokens = std::min(sequence.uncomputed, budget);
    plan.entries.push_back({sequence.key, tokens});
    budget -= tokens;
  }
  return plan;
}

}  // namespace baton
