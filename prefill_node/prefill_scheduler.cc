#include "prefill_node/prefill_scheduler.h"

#include <algorithm>
#include <span>
#include <utility>

#include "common/base/status.h"

namespace baton {

PrefillScheduler::PrefillScheduler(Config config, ModelRunner& runner, Executor& executor,
                                   Mailbox& mailbox, Clock& clock, PrefillMetrics& metrics,
                                   Events events)
    : config_(std::move(config)),
      clock_(clock),
      metrics_(metrics),
      events_(std::move(events)),
      pool_({.page_count = runner.kv().page_count,
             .page_tokens = runner.kv().page_tokens,
             .prefix_cache = config_.prefix_cache}),
      steps_(runner, executor, mailbox, [this](absl::StatusOr<std::vector<StepOutcome>> outcomes) {
        OnStep(std::move(outcomes));
      }) {}

void PrefillScheduler::Remove(PrefillJob& job) {
  job.pages.Clear();
  jobs_.erase(job.key);
}

void PrefillScheduler::Schedule() {
  if (steps_.busy()) return;
  MakeRoom(pool_.available());
  const StepPlan plan = policy_.Plan(Snapshot(Waiting()));
  for (SequenceKey key : plan.admit) {
    if (TakePages(*jobs_.at(key))) continue;
    // available() promises a little too much, or an earlier one got what this one hoped to find.
    if (key == plan.admit.front()) MakeRoom(pool_.takeable());
    break;
  }
  std::vector<StepEntry> entries;
  for (const StepPlan::Entry& planned : plan.entries) {
    const auto found = jobs_.find(planned.key);
    if (found == jobs_.end() || found->second->waits_for_pages()) continue;
    PrefillJob& job = *found->second;
    const int count = std::min(planned.tokens, job.sequence.uncomputed());
    entries.push_back(MakeStepEntry(job.key, job.sequence, count, job.pages));
    if (job.forced) entries.back().sample = false;
  }
  if (!entries.empty()) StartStep(std::move(entries));
  for (SequenceKey key : plan.admit) {
    const auto found = jobs_.find(key);
    if (found != jobs_.end() && found->second->cached_tokens > 0) {
      events_.progressed(*found->second, std::nullopt);
    }
  }
}

void PrefillScheduler::StartStep(std::vector<StepEntry> entries) {
  size_t tokens = 0;
  for (const StepEntry& entry : entries) tokens += entry.tokens.size();
  metrics_.batch_size.Observe(static_cast<double>(entries.size()));
  metrics_.batch_tokens.Observe(static_cast<double>(tokens));
  step_started_ = clock_.Now();
  steps_.Start(std::move(entries));
}

int PrefillScheduler::waiting() const {
  return static_cast<int>(std::count_if(jobs_.begin(), jobs_.end(), [](const auto& entry) {
    return entry.second->waits_for_pages();
  }));
}

int64_t PrefillScheduler::waiting_tokens() const {
  int64_t tokens = 0;
  for (const auto& [key, job] : jobs_) {
    if (job->waits_for_pages()) tokens += job->sequence.prompt_tokens();
  }
  return tokens;
}

std::vector<PrefillJob*> PrefillScheduler::Waiting() const {
  std::vector<PrefillJob*> waiting;
  for (const auto& [key, job] : jobs_) {
    if (job->waits_for_pages()) waiting.push_back(job);
  }
  // A secured request ends without waiting for anybody: served first, its pages always come back.
  std::stable_partition(waiting.begin(), waiting.end(),
                        [this](const PrefillJob* job) { return events_.secured(*job); });
  return waiting;
}

PrefillScheduler::CacheHit PrefillScheduler::LookUp(const PrefillJob& job) {
  CacheHit hit;
  const auto limit = job.sequence.prompt_tokens() - 1;
  for (const PageRef& page : pool_.Match(ScopeOf(job), job.sequence.prompt(), limit)) {
    ++hit.pages;
    if (pool_.allocator().references(page.id()) == 2) ++hit.unused;  // the cache's and this one
  }
  return hit;
}

int PrefillScheduler::PagesNeeded(const PrefillJob& job, const CacheHit& hit) const {
  return PagesFor(job.sequence.prompt_tokens(), pool_.config().page_tokens) - hit.pages +
         hit.unused;
}

EngineSnapshot PrefillScheduler::Snapshot(const std::vector<PrefillJob*>& waiting) {
  EngineSnapshot snapshot;
  snapshot.max_batch = config_.max_batch;
  snapshot.max_step_tokens = config_.chunk_tokens;
  for (const auto& [key, job] : jobs_) {
    if (job->waits_for_pages() || job->computed()) continue;
    snapshot.sequences.push_back({.key = key,
                                  .uncomputed = job->sequence.uncomputed(),
                                  .computed = job->sequence.computed()});
  }
  // More than a step can hold need not be looked up in the cache.
  const size_t looked_at = std::min<size_t>(waiting.size(), config_.max_batch);
  for (const PrefillJob* job : std::span(waiting).first(looked_at)) {
    const CacheHit hit = LookUp(*job);
    const int cached = hit.pages * pool_.config().page_tokens;
    snapshot.sequences.push_back({.key = job->key,
                                  .uncomputed = job->sequence.prompt_tokens() - cached,
                                  .computed = cached,
                                  .holds_pages = false,
                                  .pages_needed = PagesNeeded(*job, hit)});
  }
  snapshot.pages_available = pool_.available();
  return snapshot;
}

void PrefillScheduler::MakeRoom(int available) {
  const std::vector<PrefillJob*> waiting = Waiting();
  if (waiting.empty()) return;
  const PrefillJob& wanting = *waiting.front();
  const int missing = PagesNeeded(wanting, LookUp(wanting)) - available;
  if (missing <= 0) return;
  std::vector<PageHolder> holders;
  for (const auto& [key, job] : jobs_) {
    holders.push_back({key, job->pages.size(), events_.secured(*job)});
  }
  for (SequenceKey key :
       ChooseDisplaced({wanting.key, 0, events_.secured(wanting)}, missing, std::move(holders))) {
    events_.displaced(*jobs_.at(key));
  }
}

bool PrefillScheduler::TakePages(PrefillJob& job) {
  const int prompt = job.sequence.prompt_tokens();
  PageTable pages;
  pages.Append(pool_.Match(ScopeOf(job), job.sequence.prompt(), prompt - 1));
  const int matched = pages.size();
  auto fresh = pool_.TryTake(PagesFor(prompt, pool_.config().page_tokens) - matched);
  if (!fresh) return false;
  pages.Append(*std::move(fresh));
  job.pages = std::move(pages);
  job.cached_tokens = matched * pool_.config().page_tokens;
  job.sequence.SetComputed(job.cached_tokens);
  job.computing_since = clock_.Now();
  return true;
}

PrefixScope PrefillScheduler::ScopeOf(const PrefillJob& job) const {
  return {config_.producer, job.sequence.request().tenant};
}

void PrefillScheduler::OnStep(absl::StatusOr<std::vector<StepOutcome>> outcomes) {
  metrics_.step_time.Observe(Seconds(clock_.Now() - step_started_));
  if (!outcomes.ok()) return events_.device_failed(Annotate(outcomes.status(), "step"));
  for (StepOutcome& outcome : *outcomes) {
    const auto found = jobs_.find(outcome.key);
    if (found == jobs_.end()) continue;  // ended while the step ran
    PrefillJob& job = *found->second;
    job.sequence.SetComputed(outcome.end_position);
    if (job.computed()) pool_.Cache(ScopeOf(job), job.sequence.prompt(), job.pages);
    events_.progressed(job, std::move(outcome.sampled));
  }
}

}  // namespace baton
