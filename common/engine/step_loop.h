#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/mailbox.h"
#include "common/engine/executor.h"
#include "common/engine/model_runner.h"
#include "common/engine/scheduler_policy.h"
#include "common/engine/sequence.h"
#include "common/kv/page_table.h"

namespace baton {

// One sequence's part of a step: copies of all it needs, so that the request may end meanwhile.
struct StepEntry {
  SequenceKey key = 0;
  std::vector<int32_t> tokens;  // to compute
  int first_position = 0;       // of tokens[0]
  PageTable pages;              // held until the step has ended
  bool sample = false;          // the last token of the sequence is among `tokens`
  SamplingParams sampling;
  std::vector<int32_t> history;  // all tokens, where they are sampled with penalties
  int prompt_tokens = 0;
};

// Takes the next `count` uncomputed tokens of a sequence; samples when they are the last.
StepEntry MakeStepEntry(SequenceKey key, const Sequence& sequence, int count,
                        const PageTable& pages);

// One part of a step that has ended.
struct StepOutcome {
  SequenceKey key = 0;
  int end_position = 0;  // positions [.., end_position) are computed
  std::optional<SampledToken> sampled;
};

// Runs steps on the compute lane, one in flight at most, and holds their pages meanwhile.
//
// Threading: the engine thread only; the completion comes through the mailbox.
// Lifetime: the executor has stopped and the mailbox runs no more events before this goes away.
class StepLoop {
 public:
  // On the engine thread, when a step has ended and its pages are released. A status means that the
  // device failed.
  using Done = std::function<void(absl::StatusOr<std::vector<StepOutcome>>)>;

  StepLoop(ModelRunner& runner, Executor& executor, Mailbox& mailbox, Done done);

  bool busy() const { return in_flight_ != nullptr; }
  // Steps ended so far.
  int64_t steps() const { return steps_; }
  // Starts a step: not busy, at least one entry, keys distinct.
  void Start(std::vector<StepEntry> entries);

 private:
  struct Step;
  void Finish(absl::StatusOr<StepResult> result);

  ModelRunner& runner_;
  Executor& executor_;
  Mailbox& mailbox_;
  const Done done_;
  std::shared_ptr<const Step> in_flight_;
  std::vector<PageTable> held_pages_;  // of in_flight_
  int64_t steps_ = 0;
};

}  // namespace baton
