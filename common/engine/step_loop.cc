#include "common/engine/step_loop.h"

#include <utility>

#include "common/base/check.h"

namespace baton {

// Plain numbers only: the compute lane must not touch page references.
struct StepLoop::Step {
  struct Part {
    SequenceKey key = 0;
    std::vector<int32_t> tokens;
    std::vector<int32_t> pages;
    std::vector<int32_t> history;
  };
  std::vector<Part> parts;
  Batch batch;  // its spans point into parts
};

StepEntry MakeStepEntry(SequenceKey key, const Sequence& sequence, int count,
                        const PageTable& pages) {
  BATON_CHECK(count >= 1 && count <= sequence.uncomputed());
  StepEntry entry;
  entry.key = key;
  const auto tokens = sequence.tokens().subspan(sequence.computed(), count);
  entry.tokens.assign(tokens.begin(), tokens.end());
  entry.first_position = sequence.computed();
  entry.pages = pages.Share();
  entry.sample = count == sequence.uncomputed();
  entry.sampling = sequence.request().sampling;
  if (entry.sample && entry.sampling.penalizes()) {
    entry.history.assign(sequence.tokens().begin(), sequence.tokens().end());
    entry.prompt_tokens = sequence.prompt_tokens();
  }
  return entry;
}

StepLoop::StepLoop(ModelRunner& runner, Executor& executor, Mailbox& mailbox, Done done)
    : runner_(runner), executor_(executor), mailbox_(mailbox), done_(std::move(done)) {}

void StepLoop::Start(std::vector<StepEntry> entries) {
  BATON_CHECK(!busy() && !entries.empty());
  auto step = std::make_shared<Step>();
  step->parts.reserve(entries.size());
  for (StepEntry& entry : entries) {
    const auto ids = entry.pages.ids();
    Step::Part& part = step->parts.emplace_back(Step::Part{
        entry.key, std::move(entry.tokens), {ids.begin(), ids.end()}, std::move(entry.history)});
    step->batch.entries.push_back({part.tokens, entry.first_position, part.pages, entry.sample,
                                   std::move(entry.sampling), part.history, entry.prompt_tokens});
    held_pages_.push_back(std::move(entry.pages));
  }
  in_flight_ = step;
  executor_.Submit(Lane::kCompute, [this, step = std::shared_ptr<const Step>(step)] {
    auto result = runner_.Run(step->batch);
    mailbox_.Post([this, result = std::move(result)]() mutable { Finish(std::move(result)); });
  });
}

void StepLoop::Finish(absl::StatusOr<StepResult> result) {
  const auto step = std::exchange(in_flight_, nullptr);
  held_pages_.clear();
  ++steps_;
  if (!result.ok()) return done_(result.status());
  BATON_CHECK(result->sampled.size() == step->parts.size());
  std::vector<StepOutcome> outcomes;
  outcomes.reserve(step->parts.size());
  for (size_t i = 0; i < step->parts.size(); ++i) {
    const BatchEntry& entry = step->batch.entries[i];
    outcomes.push_back({step->parts[i].key,
                        entry.first_position + static_cast<int>(entry.tokens.size()),
                        std::move(result->sampled[i])});
  }
  done_(std::move(outcomes));
}

}  // namespace baton
