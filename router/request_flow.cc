#include "router/request_flow.h"

#include <utility>

#include "common/base/check.h"
#include "common/base/status.h"
#include "router/worker_errors.h"

namespace baton {
namespace {

v1::DecodePeer PeerOf(const v1::WorkerDescriptor& decode) {
  v1::DecodePeer peer;
  *peer.mutable_identity() = decode.identity();
  peer.set_rpc_endpoint(decode.rpc_endpoint());
  peer.set_kv_endpoint(decode.kv_endpoint());
  return peer;
}

}  // namespace

RequestFlow::RequestFlow(Config config, RequestSpec spec, Answer answer, WorkerLegs& legs,
                         RequestOwner& owner)
    : config_(config),
      spec_(std::move(spec)),
      answer_(std::move(answer)),
      legs_(legs),
      owner_(owner) {}

PairQuery RequestFlow::Query() const {
  PairQuery query;
  query.prefill = prefill_.open ? prefill_.worker : nullptr;
  query.decode = decode_.open ? decode_.worker : nullptr;
  const uint32_t max_tokens = spec_.worker.sampling().max_tokens();
  query.needs_decode = max_tokens > 1;
  query.tokens = static_cast<uint32_t>(spec_.worker.prompt_size()) + max_tokens;
  query.excluded = &tried_;
  return query;
}

void RequestFlow::Dispatch(const WorkerPair& pair, TransferId transfer) {
  BATON_CHECK(phase_ == Phase::kWaiting);
  phase_ = Phase::kHandover;
  transfer_ = transfer;
  BeginAttempt(pair);
}

void RequestFlow::BeginAttempt(const WorkerPair& pair) {
  ++attempt_;
  prefill_ids_.push_back(pair.prefill->identity().worker_id());
  // Each side is told of the other: both must be known before either starts.
  const bool same_prefill = prefill_.open;
  const bool same_decode = decode_.open;
  prefill_.worker = pair.prefill;
  decode_.worker = pair.decode;
  if (pair.decode != nullptr) BeginDecode(same_decode);
  BeginPrefill(same_prefill);
}

void RequestFlow::BeginPrefill(bool rebind) {
  v1::PrefillRequest message;
  const auto fill = [this](auto& begin) {
    begin.set_attempt(attempt_);
    if (decode_.worker != nullptr) *begin.mutable_decode() = PeerOf(*decode_.worker);
    if (!answer_.first_token()) return;
    begin.set_forced_first_token(*answer_.first_token());
    if (answer_.first_logprobs()) *begin.mutable_forced_logprobs() = *answer_.first_logprobs();
  };
  if (rebind) {
    fill(*message.mutable_rebind());
    legs_.SendPrefill(std::move(message));
    return;
  }
  v1::PrefillStart& start = *message.mutable_start();
  fill(start);
  start.set_transfer_id(transfer_.ToBytes());
  *start.mutable_request() = spec_.worker;
  start.set_incarnation(prefill_.worker->identity().incarnation());
  prefill_.open = true;
  prefill_.accepted = false;
  prefill_.from = attempt_;
  legs_.OpenPrefill(prefill_.worker, std::move(message));
}

void RequestFlow::BeginDecode(bool rebind) {
  v1::DecodeRequest message;
  if (rebind) {
    v1::DecodeRebind& begin = *message.mutable_rebind();
    begin.set_attempt(attempt_);
    *begin.mutable_prefill()->mutable_identity() = prefill_.worker->identity();
    legs_.SendDecode(std::move(message));
    return;
  }
  v1::DecodeStart& start = *message.mutable_start();
  start.set_transfer_id(transfer_.ToBytes());
  start.set_attempt(attempt_);
  *start.mutable_request() = spec_.worker;
  *start.mutable_prefill()->mutable_identity() = prefill_.worker->identity();
  start.set_incarnation(decode_.worker->identity().incarnation());
  decode_.open = true;
  decode_.accepted = false;
  decode_.from = attempt_;
  legs_.OpenDecode(decode_.worker, std::move(message));
}

void RequestFlow::NextAttempt(const absl::Status& why, bool counts) {
  if (counts && retries_ >= config_.max_retries) return Fail(why);
  if (counts) ++retries_;
  if (!prefill_.open) held_.reset();
  const absl::StatusOr<WorkerPair> pair = owner_.Pick(Query());
  if (pair.ok()) return BeginAttempt(*pair);
  // A contract that a decode worker refuses will not change by waiting.
  if (why.code() == absl::StatusCode::kFailedPrecondition) return Fail(why);
  if (pair.status().code() == absl::StatusCode::kResourceExhausted) return BackToQueue();
  Fail(Annotate(pair.status(), MessageOf(why)));
}

void RequestFlow::BackToQueue() {
  DropPrefill();
  DropDecode();
  held_.reset();
  tried_.clear();
  reserved_ = 0;
  phase_ = Phase::kWaiting;
  owner_.Requeue();
}

void RequestFlow::DropPrefill() {
  if (prefill_.open) legs_.CancelPrefill(v1::CANCEL_REASON_FAILED);
  prefill_.open = false;
}

void RequestFlow::DropDecode() {
  if (decode_.open) legs_.CancelDecode(v1::CANCEL_REASON_FAILED);
  decode_.open = false;
}

// Prefill worker
// ------------------------------------------------------------------------------------------------------

void RequestFlow::OnPrefill(const v1::PrefillResponse& message, TimePoint now) {
  if (settled() || !prefill_.open) return;
  prefill_.accepted = true;
  switch (message.message_case()) {
    case v1::PrefillResponse::kStarted:
      return;
    case v1::PrefillResponse::kFirstToken:
      return OnFirstToken(message.first_token(), now);
    case v1::PrefillResponse::kRefused:
      return OnRefused(message.refused());
    case v1::PrefillResponse::kDelivered:
      answer_.figures().mutable_timing()->set_pack_ms(message.delivered().pack_ms());
      return;
    case v1::PrefillResponse::MESSAGE_NOT_SET:
      return Fail(Broke("prefill", prefill_.worker, "message: not set"));
  }
}

// A first token of the present stream is good whatever attempt it names: a Rebind of the same
// worker does not make it sample again.
void RequestFlow::OnFirstToken(const v1::FirstToken& message, TimePoint now) {
  if (!prefill_.Covers(message.attempt(), attempt_)) return;
  v1::Timing& timing = *answer_.figures().mutable_timing();
  timing.set_queue_ms(message.queue_ms());
  timing.set_prefill_ms(message.prefill_ms());
  answer_.figures().mutable_usage()->set_cached_tokens(message.cached_tokens());
  if (phase_ != Phase::kHandover || answer_.first_token()) return;
  if (message.finish_reason() == v1::FINISH_REASON_UNSPECIFIED && decode_.worker == nullptr) {
    return Fail(Broke("prefill", prefill_.worker, "max_tokens is 1 and no finish reason is set"));
  }
  held_ = message;
  TryHeldFirstToken(now);
}

// A decode worker that was rebound may hold a complete reservation of a former attempt, whose first
// token is another one: only Reserved tells that it does not.
void RequestFlow::TryHeldFirstToken(TimePoint now) {
  if (!held_) return;
  const bool ends = held_->finish_reason() != v1::FINISH_REASON_UNSPECIFIED;
  if (!ends && !decode_.open) {
    return Fail(Broke("decode", decode_.worker, "ended without Committed"));
  }
  if (attempt_ > 1 && reserved_ != attempt_ && decode_.open) return;
  const v1::FirstToken token = *std::exchange(held_, std::nullopt);
  DeliverToken(token.token_id(), token.has_logprobs() ? &token.logprobs() : nullptr, now);
  if (settled() || !ends) return;
  if (token.has_matched_stop_token()) {
    answer_.figures().set_matched_stop_token(token.matched_stop_token());
  }
  Complete(token.finish_reason(), now);
}

void RequestFlow::OnRefused(const v1::PrefillRefused& message) {
  if (phase_ == Phase::kDecoding) {
    legs_.CancelPrefill(v1::CANCEL_REASON_FINISHED);
    prefill_.open = false;
    return;
  }
  if (message.attempt() != attempt_) return;
  const absl::Status why = RefusalStatus(message);
  switch (message.code()) {
    case v1::REFUSE_CODE_ENDED:
    case v1::REFUSE_CODE_ALREADY_COMMITTED:
      return;  // the decode worker's own stream says what happened
    case v1::REFUSE_CODE_CONTRACT:
    case v1::REFUSE_CODE_NO_ROOM:
      if (decode_.open) tried_.insert(KeyOf(decode_.worker->identity()));
      DropDecode();
      return NextAttempt(why, false);
    case v1::REFUSE_CODE_KV_DROPPED:
      DropPrefill();
      return NextAttempt(why, false);
    case v1::REFUSE_CODE_LEASE_EXPIRED:
      DropPrefill();
      return NextAttempt(why, true);
    case v1::REFUSE_CODE_STALE:
    case v1::REFUSE_CODE_BUSY:
    case v1::REFUSE_CODE_UNKNOWN_TRANSFER:
    case v1::REFUSE_CODE_HANDOFF_LOST:
      return NextAttempt(why, true);  // the same pair, bound anew
    case v1::REFUSE_CODE_DATA_LOSS:
      return Fail(DataLoss("slabs were lost between prefill worker '{}' and the decode worker",
                           prefill_.worker->identity().worker_id()));
    default:
      return Fail(Broke("prefill", prefill_.worker,
                        fmt::format("refused with code {}", static_cast<int>(message.code()))));
  }
}

void RequestFlow::OnPrefillClosed(const absl::Status& status, TimePoint now) {
  if (settled() || !prefill_.open) return;
  prefill_.open = false;
  if (phase_ != Phase::kHandover) return;
  // In good order: Committed, or Reserved for the held token, is on its way.
  if (status.ok()) {
    if (!decode_.open) Fail(Broke("prefill", prefill_.worker, "ended without a token"));
    return;
  }
  const WorkerKey key = KeyOf(prefill_.worker->identity());
  if (status.code() == absl::StatusCode::kAborted) return NextAttempt(status, false);
  if (IsLoss(status) || status.code() == absl::StatusCode::kResourceExhausted) {
    // A held token that ends the request needs nothing more from the worker.
    if (held_ && held_->finish_reason() != v1::FINISH_REASON_UNSPECIFIED) return;
    tried_.insert(key);
    const bool counts = IsLoss(status) && prefill_.accepted;
    return NextAttempt(IsLoss(status) ? Lost("prefill", prefill_.worker, status) : status, counts);
  }
  Fail(Annotate(status, fmt::format("prefill worker '{}'", key.id.value())));
}

// Decode worker
// -------------------------------------------------------------------------------------------------------

void RequestFlow::OnDecode(const v1::DecodeResponse& message, TimePoint now) {
  if (settled() || !decode_.open) return;
  decode_.accepted = true;
  switch (message.message_case()) {
    case v1::DecodeResponse::kReserved:
      if (phase_ != Phase::kHandover) return;
      if (decode_.Covers(message.reserved().attempt(), attempt_)) {
        reserved_ = message.reserved().attempt();
      }
      return TryHeldFirstToken(now);
    case v1::DecodeResponse::kCommitted:
      return OnCommitted(message.committed(), now);
    case v1::DecodeResponse::kToken:
      return OnToken(message.token(), now);
    case v1::DecodeResponse::kFinished:
      return OnFinished(message.finished(), now);
    case v1::DecodeResponse::MESSAGE_NOT_SET:
      return Fail(Broke("decode", decode_.worker, "message: not set"));
  }
}

// A complete reservation is final: a Rebind that crossed it on the way changes nothing there. So
// any attempt of the present stream counts.
void RequestFlow::OnCommitted(const v1::DecodeCommitted& message, TimePoint now) {
  if (!decode_.Covers(message.attempt(), attempt_)) return;
  const std::optional<int32_t>& first = answer_.first_token();
  if (first && *first != message.first_token()) {
    return Fail(
        Broke("decode", decode_.worker,
              fmt::format("committed first token {}, expected {}", message.first_token(), *first)));
  }
  if (phase_ == Phase::kDecoding) return;
  phase_ = Phase::kDecoding;
  held_.reset();
  answer_.figures().mutable_timing()->set_transfer_ms(message.transfer_ms());
  v1::KvUsage& kv = *answer_.figures().mutable_kv();
  kv.set_bytes_raw(message.bytes_raw());
  kv.set_bytes_wire(message.bytes_wire());
  kv.set_format(message.wire_format());
  kv.set_slabs(message.slabs());
  kv.set_tokens(message.tokens());
  answer_.figures().mutable_workers()->set_prefill(prefill_ids_[message.attempt() - 1]);
  answer_.figures().mutable_workers()->set_decode(decode_.worker->identity().worker_id());
  if (first) return;
  DeliverToken(message.first_token(), message.has_logprobs() ? &message.logprobs() : nullptr, now);
}

void RequestFlow::OnToken(const v1::DecodedToken& message, TimePoint now) {
  if (!decode_.Covers(message.attempt(), attempt_)) return;
  if (phase_ != Phase::kDecoding) {
    return Fail(Broke("decode", decode_.worker, "a token before Committed"));
  }
  if (message.index() < answer_.tokens()) return;
  if (message.index() > answer_.tokens() ||
      answer_.tokens() >= spec_.worker.sampling().max_tokens()) {
    return Fail(Broke("decode", decode_.worker,
                      fmt::format("token index {}, expected {} of at most {}", message.index(),
                                  answer_.tokens(), spec_.worker.sampling().max_tokens())));
  }
  DeliverToken(message.token_id(), message.has_logprobs() ? &message.logprobs() : nullptr, now);
}

void RequestFlow::OnFinished(const v1::Finished& message, TimePoint now) {
  if (!decode_.Covers(message.attempt(), attempt_)) return;
  if (phase_ != Phase::kDecoding || (message.finish_reason() != v1::FINISH_REASON_STOP &&
                                     message.finish_reason() != v1::FINISH_REASON_LENGTH)) {
    return Fail(Broke("decode", decode_.worker,
                      fmt::format("finished with reason {} after {} tokens",
                                  static_cast<int>(message.finish_reason()), answer_.tokens())));
  }
  if (message.has_matched_stop_token()) {
    answer_.figures().set_matched_stop_token(message.matched_stop_token());
  }
  Complete(message.finish_reason(), now);
}

void RequestFlow::OnDecodeClosed(const absl::Status& status, TimePoint now) {
  if (settled() || !decode_.open) return;
  decode_.open = false;
  const WorkerKey key = KeyOf(decode_.worker->identity());
  if (phase_ == Phase::kDecoding) {
    if (status.ok()) return Fail(Broke("decode", decode_.worker, "ended without Finished"));
    return Fail(IsLoss(status)
                    ? Unavailable("decode worker '{}' was lost after {} tokens: {}", key.id.value(),
                                  answer_.tokens(), MessageOf(status))
                    : Annotate(status, fmt::format("decode worker '{}'", key.id.value())));
  }
  // The prefill worker told it that the first token ends the request: that token is held, or on
  // its way.
  const bool ends = held_ && held_->finish_reason() != v1::FINISH_REASON_UNSPECIFIED;
  if (ends) return TryHeldFirstToken(now);
  if (status.ok()) {
    if (!prefill_.open) Fail(Broke("decode", decode_.worker, "ended without Committed"));
    return;
  }
  if (IsLoss(status) || status.code() == absl::StatusCode::kResourceExhausted) {
    tried_.insert(key);
    const bool counts = IsLoss(status) && decode_.accepted;
    return NextAttempt(IsLoss(status) ? Lost("decode", decode_.worker, status) : status, counts);
  }
  Fail(Annotate(status, fmt::format("decode worker '{}'", key.id.value())));
}

// Output
// --------------------------------------------------------------------------------------------------------------

void RequestFlow::DeliverToken(int32_t token, const v1::Logprobs* logprobs, TimePoint now) {
  absl::StatusOr<Answer::Step> step = answer_.Push(token, logprobs, now);
  if (!step.ok()) return Fail(step.status());
  owner_.Deliver(std::move(step->chunk));
  if (!step->matched_stop) return;
  answer_.figures().set_matched_stop(*step->matched_stop);
  Complete(v1::FINISH_REASON_STOP, now);
}

void RequestFlow::Complete(v1::FinishReason reason, TimePoint now) {
  v1::Complete& figures = answer_.figures();
  if (figures.matched_stop().empty()) {
    if (auto rest = answer_.Rest()) owner_.Deliver(*std::move(rest));
  }
  figures.set_finish_reason(reason);
  figures.mutable_usage()->set_prompt_tokens(static_cast<uint32_t>(spec_.worker.prompt_size()));
  if (figures.workers().prefill().empty()) {
    figures.mutable_workers()->set_prefill(prefill_ids_.back());
  }
  figures.set_request_id(spec_.worker.request_id());
  figures.set_attempts(attempt_);
  owner_.Deliver(answer_.TakeComplete(now));
  End(v1::CANCEL_REASON_FINISHED, absl::OkStatus());
}

void RequestFlow::Cancel(v1::CancelReason reason, const absl::Status& status) {
  if (!settled()) End(reason, status);
}

void RequestFlow::End(v1::CancelReason reason, const absl::Status& status) {
  phase_ = Phase::kSettled;
  if (prefill_.open) legs_.CancelPrefill(reason);
  if (decode_.open) legs_.CancelDecode(reason);
  prefill_.open = decode_.open = false;
  held_.reset();
  owner_.Settled(status);
}

}  // namespace baton
