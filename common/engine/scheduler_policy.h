#pragma once

#include <cstdint>
#include <vector>

namespace baton {

// Names a sequence within its worker; later requests have larger keys.
using SequenceKey = uint64_t;

// One sequence that has work to do.
struct SequenceView {
  SequenceKey key = 0;
  int uncomputed = 0;       // tokens without K and V, >= 1
  int computed = 0;         // positions with K and V
  bool holds_pages = true;  // false: waits for `pages_needed` pages before it can start
  int pages_needed = 0;     // to start; 0 for one that holds pages
};

// All that a policy may look at.
struct EngineSnapshot {
  std::vector<SequenceView> sequences;  // in order of arrival
  int pages_available = 0;              // free, or cached and unused
  int max_batch = 0;                    // sequences in one step
  int max_step_tokens = 0;              // tokens in one step
};

struct StepPlan {
  struct Entry {
    SequenceKey key = 0;
    int tokens = 0;  // to compute in this step, in [1, uncomputed]
    friend bool operator==(const Entry&, const Entry&) = default;
  };
  std::vector<SequenceKey> admit;  // take pages for these first, in this order
  std::vector<Entry> entries;      // each at most once; may name a sequence in `admit`
};

// Decides what the next step computes. Const and pure: the same snapshot gives the same plan.
class SchedulerPolicy {
 public:
  virtual ~SchedulerPolicy() = default;
  virtual StepPlan Plan(const EngineSnapshot& snapshot) const = 0;
};

}  // namespace baton
