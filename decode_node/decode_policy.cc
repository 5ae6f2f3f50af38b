#include "decode_node/decode_policy.h"

#include <algorithm>

namespace baton {

StepPlan DecodePolicy::Plan(const EngineSnapshot& snapshot) const {
  StepPlan plan;
  int tokens_left = snapshot.max_step_tokens;
  for (const SequenceView& sequence : snapshot.sequences) {
    if (static_cast<int>(plan.entries.size()) >= snapshot.max_batch || tokens_left == 0) break;
    const int tokens = std::min(sequence.uncomputed, tokens_left);
    plan.entries.push_back({sequence.key, tokens});
    tokens_left -= tokens;
  }
  return plan;
}

}  // namespace baton
