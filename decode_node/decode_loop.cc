#include "decode_node/decode_loop.h"

#include <utility>

#include "common/base/check.h"

namespace baton {

DecodeLoop::DecodeLoop(Config config, const SchedulerPolicy& policy, Clock& clock, Mailbox& mailbox,
                       Executor& executor, ModelRunner& runner, ReservationTable& table,
                       DecodeMetrics& metrics, Events events)
    : config_(config),
      policy_(policy),
      clock_(clock),
      table_(table),
      metrics_(metrics),
      events_(std::move(events)),
      steps_(runner, executor, mailbox, [this](auto outcomes) { OnStep(std::move(outcomes)); }) {}

void DecodeLoop::Add(Reservation& reservation, int32_t first_token) {
  reservation.sequence.SetComputed(reservation.sequence.prompt_tokens());
  reservation.sequence.Append(first_token);
  if (EndIfFinished(reservation)) return;
  decoding_.push_back(reservation.key);
}

void DecodeLoop::Advance() {
  if (steps_.busy() || decoding_.empty()) return;
  EngineSnapshot snapshot;
  snapshot.max_batch = config_.max_batch;
  snapshot.max_step_tokens = config_.max_batch;
  for (SequenceKey key : decoding_) {
    const Sequence& sequence = table_.Find(key)->sequence;
    snapshot.sequences.push_back({key, sequence.uncomputed(), sequence.computed()});
  }
  const StepPlan plan = policy_.Plan(snapshot);
  std::vector<StepEntry> entries;
  for (const StepPlan::Entry& planned : plan.entries) {
    const Reservation& reservation = *table_.Find(planned.key);
    entries.push_back(
        MakeStepEntry(planned.key, reservation.sequence, planned.tokens, reservation.pages));
  }
  if (entries.empty()) return;
  size_t tokens = 0;
  for (const StepEntry& entry : entries) tokens += entry.tokens.size();
  metrics_.batch_size.Observe(static_cast<double>(entries.size()));
  metrics_.batch_tokens.Observe(static_cast<double>(tokens));
  step_started_ = clock_.Now();
  steps_.Start(std::move(entries));
}

void DecodeLoop::OnStep(absl::StatusOr<std::vector<StepOutcome>> outcomes) {
  metrics_.step_time.Observe(Seconds(clock_.Now() - step_started_));
  if (!outcomes.ok()) return events_.device_failed(outcomes.status());
  for (const StepOutcome& outcome : *outcomes) {
    // It may have ended while the step ran.
    Reservation* reservation = table_.Find(outcome.key);
    if (reservation == nullptr) continue;
    reservation->sequence.SetComputed(outcome.end_position);
    if (outcome.sampled) OnToken(*reservation, *outcome.sampled);
  }
  events_.step_done();
}

void DecodeLoop::OnToken(Reservation& reservation, const SampledToken& sampled) {
  reservation.sequence.Append(sampled.token);
  v1::DecodeResponse message;
  v1::DecodedToken* token = message.mutable_token();
  token->set_attempt(reservation.attempt());
  token->set_index(static_cast<uint32_t>(reservation.sequence.output_tokens() - 1));
  token->set_token_id(sampled.token);
  if (auto report = ReportLogprobs(reservation.sequence.request().sampling, sampled)) {
    *token->mutable_logprobs() = *std::move(report);
  }
  metrics_.generated_tokens.Add();
  const absl::Status sent = reservation.stream->Send(std::move(message));
  if (!sent.ok()) return events_.ended(reservation, sent);
  EndIfFinished(reservation);
}

bool DecodeLoop::EndIfFinished(Reservation& reservation) {
  const auto& finish = reservation.sequence.finish();
  if (!finish) return false;
  v1::DecodeResponse message;
  v1::Finished* finished = message.mutable_finished();
  finished->set_attempt(reservation.attempt());
  finished->set_finish_reason(finish->reason);
  if (finish->matched_stop_token) finished->set_matched_stop_token(*finish->matched_stop_token);
  events_.ended(reservation, reservation.stream->Send(std::move(message)));
  return true;
}

}  // namespace baton
