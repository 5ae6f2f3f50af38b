#include "router/live_request.h"

#include <utility>

#include "common/base/status.h"

namespace baton {
namespace {

// Workers get a little more time than the client, so that the router's own Cancel reaches them
// first and says why.
constexpr Duration kWorkerGrace = std::chrono::seconds(2);

TimePoint WorkerDeadline(TimePoint deadline) {
  return deadline > TimePoint::max() - kWorkerGrace ? TimePoint::max() : deadline + kWorkerGrace;
}

}  // namespace

LiveRequest::LiveRequest(Init init, Answer answer, const Openers& openers, Pairing& pairing,
                         Clock& clock, Mailbox& mailbox, const Hooks& hooks)
    : number_(init.number),
      deadline_(init.deadline),
      pairing_(pairing),
      clock_(clock),
      hooks_(hooks),
      client_(std::move(init.client)),
      prefill_(openers.prefill, mailbox,
               [this](StreamEvent<v1::PrefillResponse> event) {
                 if (const auto* closed = std::get_if<StreamClosed>(&event)) {
                   flow_.OnPrefillClosed(closed->status, clock_.Now());
                 } else {
                   flow_.OnPrefill(std::get<v1::PrefillResponse>(event), clock_.Now());
                 }
               }),
      decode_(openers.decode, mailbox,
              [this](StreamEvent<v1::DecodeResponse> event) {
                if (const auto* closed = std::get_if<StreamClosed>(&event)) {
                  flow_.OnDecodeClosed(closed->status, clock_.Now());
                } else {
                  flow_.OnDecode(std::get<v1::DecodeResponse>(event), clock_.Now());
                }
              }),
      flow_(init.flow, std::move(init.spec), std::move(answer), *this, *this) {}

absl::Status LiveRequest::TryDispatch(TransferId transfer) {
  absl::StatusOr<WorkerPair> pair = pairing_.Pick(flow_.Query());
  if (pair.ok()) {
    flow_.Dispatch(*pair, transfer);
    return absl::OkStatus();
  }
  if (pair.status().code() != absl::StatusCode::kResourceExhausted) {
    flow_.Cancel(v1::CANCEL_REASON_FAILED, pair.status());
  }
  return pair.status();
}

void LiveRequest::Cancel(v1::CancelReason reason, const absl::Status& status) {
  flow_.Cancel(reason, status);
}

void LiveRequest::WorkerLost(const WorkerKey& key) {
  const absl::Status status = Unavailable("no report from it in time");
  const auto is_lost = [&key](const WorkerRef& worker) {
    return worker != nullptr && KeyOf(worker->identity()) == key;
  };
  if (is_lost(prefill_.worker())) prefill_.WorkerLost(status);
  if (is_lost(decode_.worker())) decode_.WorkerLost(status);
}

void LiveRequest::Tick(TimePoint now) {
  prefill_.Tick(now);
  decode_.Tick(now);
}

void LiveRequest::OpenPrefill(const WorkerRef& worker, v1::PrefillRequest first) {
  prefill_.Open(worker, WorkerDeadline(deadline_),
                Pairing::Assignment(pairing_, KeyOf(worker->identity())), std::move(first));
}

void LiveRequest::OpenDecode(const WorkerRef& worker, v1::DecodeRequest first) {
  decode_.Open(worker, WorkerDeadline(deadline_),
               Pairing::Assignment(pairing_, KeyOf(worker->identity())), std::move(first));
}

void LiveRequest::SendPrefill(v1::PrefillRequest message) { prefill_.Send(std::move(message)); }

void LiveRequest::SendDecode(v1::DecodeRequest message) { decode_.Send(std::move(message)); }

void LiveRequest::CancelPrefill(v1::CancelReason reason) { prefill_.Cancel(reason, clock_.Now()); }

void LiveRequest::CancelDecode(v1::CancelReason reason) { decode_.Cancel(reason, clock_.Now()); }

absl::StatusOr<WorkerPair> LiveRequest::Pick(const PairQuery& query) {
  return pairing_.Pick(query);
}

void LiveRequest::Requeue() { hooks_.requeued(*this); }

void LiveRequest::Deliver(v1::GenerateResponse response) {
  if (client_ == nullptr) return;
  if (response.has_complete()) {
    Flush();
    hooks_.completed(response.complete());
    // A client that went away is told by the end of its stream.
    client_->Send(std::move(response)).IgnoreError();
  } else if (!chunk_) {
    chunk_ = std::move(response);
    hooks_.has_output(*this);
  } else {
    v1::Chunk& chunk = *chunk_->mutable_chunk();
    chunk.mutable_token_ids()->MergeFrom(response.chunk().token_ids());
    chunk.mutable_text()->append(response.chunk().text());
    chunk.mutable_logprobs()->MergeFrom(response.chunk().logprobs());
  }
}

void LiveRequest::Flush() {
  if (chunk_ && client_ != nullptr) client_->Send(*std::move(chunk_)).IgnoreError();
  chunk_.reset();
}

void LiveRequest::Settled(const absl::Status& status) {
  Flush();
  if (client_ != nullptr) client_->Close(status);
  client_.reset();
  hooks_.settled(*this, status);
}

}  // namespace baton
