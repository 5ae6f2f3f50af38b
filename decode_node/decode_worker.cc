#include "decode_node/decode_worker.h"

#include <utility>

#include "common/base/check.h"
#include "common/base/status.h"
#include "decode_node/messages.h"

namespace baton {
using Phase = Reservation::Phase;

void DecodeWorker::Post(std::function<void()> event) {
  env_.mailbox.Post([this, event = std::move(event)]() mutable {
    // What the event held, such as a span of the arena, is free again before Settle looks.
    std::exchange(event, nullptr)();
    Settle();
  });
}

void DecodeWorker::Settle() {
  pages_.ServeQueue([this](Reservation& reservation) { AnswerReserved(reservation); });
  intake_.PumpCredits();
  loop_.Advance();
}

// Streams -----------------------------------------------------------------------------------------

StreamSink<v1::DecodeRequest> DecodeWorker::AcceptDecode(std::shared_ptr<DecodeStream> stream,
                                                         TimePoint deadline) {
  const SequenceKey key = next_id_++;
  Post([this, key, stream = std::move(stream), deadline] {
    callers_.emplace(key, Caller{stream, deadline});
  });
  return [this, key](StreamEvent<v1::DecodeRequest> event) {
    Post([this, key, event = std::move(event)] { OnDecodeEvent(key, event); });
  };
}

StreamSink<v1::HandoffRequest> DecodeWorker::AcceptHandoff(std::shared_ptr<HandoffStream> stream,
                                                           TimePoint) {
  const uint64_t session = next_id_++;
  Post([this, session, stream = std::move(stream)] { sessions_.Add(session, stream); });
  return [this, session](StreamEvent<v1::HandoffRequest> event) {
    Post([this, session, event = std::move(event)] { sessions_.OnEvent(session, event); });
  };
}

void DecodeWorker::OnDecodeEvent(SequenceKey key, StreamEvent<v1::DecodeRequest> event) {
  Reservation* reservation = table_.Find(key);
  if (std::holds_alternative<StreamClosed>(event)) {
    // A router keeps its half open until the end: closing it means that nobody listens.
    callers_.erase(key);
    if (reservation != nullptr) End(*reservation, Cancelled("the router went away"));
    return;
  }
  const auto& message = std::get<v1::DecodeRequest>(event);
  if (reservation == nullptr) {
    if (!callers_.contains(key)) return;  // ended here, the router does not know yet
    if (message.has_start()) return OnStart(key, message.start());
    callers_.at(key).stream->Close(InvalidArgument("message: expected start first"));
    callers_.erase(key);
    return;
  }
  switch (message.message_case()) {
    case v1::DecodeRequest::kRebind:
      return OnRebind(*reservation, message.rebind());
    case v1::DecodeRequest::kCancel:
      return End(*reservation, StatusOfCancel(message.cancel().reason()));
    case v1::DecodeRequest::kStart:
      return End(*reservation, InvalidArgument("start: repeated, expected once per stream"));
    case v1::DecodeRequest::MESSAGE_NOT_SET:
      return End(*reservation, InvalidArgument("message: absent or unknown"));
  }
}

// The router's side -------------------------------------------------------------------------------

absl::Status DecodeWorker::CheckStart(const TransferId& transfer,
                                      const v1::DecodeStart& start) const {
  if (start.attempt() < 1) return InvalidArgument("start.attempt: 0, expected at least 1");
  if (start.incarnation() != config_.identity.incarnation()) {
    return Unavailable("start.incarnation: {:016x}, this worker is {:016x}", start.incarnation(),
                       config_.identity.incarnation());
  }
  if (!health_.ok()) return Unavailable("the device failed: {}", MessageOf(health_));
  if (table_.Find(transfer) != nullptr) {
    return AlreadyExists("start.transfer_id: {} is live", transfer.ToString());
  }
  if (opens_.IsBuried(transfer, start.attempt())) {
    return Aborted("start.attempt: {} of transfer {} has ended here", start.attempt(),
                   transfer.ToString());
  }
  if (draining_) return Unavailable("the worker is draining");
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Reservation>> DecodeWorker::MakeReservation(
    SequenceKey key, const TransferId& transfer, const v1::DecodeStart& start) const {
  BATON_ASSIGN_OR_RETURN(EngineRequest request, ParseRequest(start.request(), config_.limits));
  const int pages_needed = PagesFor(request.max_positions(), pages_.pool().config().page_tokens);
  if (pages_needed > pages_.pool().page_count()) {
    return InvalidArgument("prompt + max_tokens: {} tokens take {} pages, this worker has {}",
                           request.max_positions(), pages_needed, pages_.pool().page_count());
  }
  TransferReceiver::Config receiver;
  receiver.transfer = transfer;
  receiver.geometry = env_.runner.kv().geometry;
  receiver.prompt_tokens = static_cast<uint32_t>(request.prompt.size());
  receiver.max_slab_bytes = config_.slab_bytes;
  receiver.vocab_size = config_.limits.vocab_size;
  auto reservation = std::make_unique<Reservation>(key, std::move(request),
                                                   TransferReceiver(receiver, start.attempt()));
  reservation->prefill = KeyOf(start.prefill().identity());
  reservation->pages_needed = pages_needed;
  return reservation;
}

void DecodeWorker::OnStart(SequenceKey key, const v1::DecodeStart& start) {
  Caller caller = std::move(callers_.extract(key).mapped());
  const auto transfer = TransferId::FromBytes(start.transfer_id());
  if (!transfer.ok()) {
    return caller.stream->Close(Annotate(transfer.status(), "start.transfer_id"));
  }
  absl::Status status = CheckStart(*transfer, start);
  if (status.ok()) {
    auto made = MakeReservation(key, *transfer, start);
    status = made.ok() ? Enter(*std::move(made), caller) : made.status();
  }
  if (status.ok()) return;
  env_.logger.Info("refused", {{"request", start.request().request_id()},
                               {"attempt", start.attempt()},
                               {"status", ToString(status)}});
  caller.stream->Close(status);
  if (table_.Find(*transfer) == nullptr && !opens_.IsBuried(*transfer, start.attempt())) {
    opens_.Bury(*transfer, {start.attempt(), v1::REFUSE_CODE_NO_ROOM}, env_.clock.Now());
  }
}

absl::Status DecodeWorker::Enter(std::unique_ptr<Reservation> reservation, Caller caller) {
  reservation->arrived = env_.clock.Now();
  reservation->stream = std::move(caller.stream);
  reservation->deadline = caller.deadline;
  const PageDesk::Answer answer = pages_.Ask(*reservation);
  if (answer == PageDesk::Answer::kFull) {
    return ResourceExhausted("{} requests wait for pages, expected fewer than {}",
                             pages_.queue().size(), config_.max_queue);
  }
  Reservation& entered = table_.Add(std::move(reservation));
  opens_.Exhume(entered.transfer());
  if (answer == PageDesk::Answer::kReserved) {
    AnswerReserved(entered);
  } else {
    opens_.Retry(entered.transfer(), env_.clock.Now());
  }
  return absl::OkStatus();
}

void DecodeWorker::OnRebind(Reservation& reservation, const v1::DecodeRebind& rebind) {
  if (rebind.attempt() <= reservation.attempt()) return;  // late or repeated
  intake_.EndAttempt(reservation);
  reservation.receiver.Rebind(rebind.attempt());
  reservation.prefill = KeyOf(rebind.prefill().identity());
  if (reservation.phase == Phase::kWaiting &&
      pages_.AskAgain(reservation) == PageDesk::Answer::kReserved) {
    return AnswerReserved(reservation);
  }
  if (reservation.phase == Phase::kDecoding) {
    Send(reservation, CommittedMessage(reservation, reservation.transfer_time));
  }
  opens_.Retry(reservation.transfer(), env_.clock.Now());
}

void DecodeWorker::AnswerReserved(Reservation& reservation) {
  if (const auto arrived = std::exchange(reservation.arrived, std::nullopt)) {
    metrics_.queue_time.Observe(Seconds(env_.clock.Now() - *arrived));
  }
  Send(reservation, ReservedMessage(reservation));
  opens_.Retry(reservation.transfer(), env_.clock.Now());
}

// The prefill worker's side -----------------------------------------------------------------------

void DecodeWorker::OnHandoffMessage(uint64_t session, const TransferId& transfer,
                                    const v1::HandoffRequest& message) {
  const uint32_t attempt = message.attempt();
  if (message.has_open()) {
    opens_.OnOpen(session, transfer, attempt, message.open(), env_.clock.Now());
  } else if (message.has_need_credit()) {
    intake_.OnNeedCredit(session, transfer, attempt, message.need_credit());
  } else if (message.has_commit()) {
    intake_.OnCommit(session, transfer, attempt, message.commit());
  } else if (message.has_abort()) {
    OnHandoffAbort(session, transfer, attempt, message.abort().reason());
  }
}

void DecodeWorker::OnHandoffAbort(uint64_t session, const TransferId& transfer, uint32_t attempt,
                                  v1::AbortReason reason) {
  opens_.OnAbort(session, transfer, attempt);
  Reservation* reservation = table_.Find(transfer);
  if (reservation == nullptr || reservation->attempt() != attempt ||
      reservation->phase == Phase::kDecoding ||
      reservation->prefill != *sessions_.prefill(session)) {
    return;
  }
  env_.logger.Info("transfer_aborted", {{"request", reservation->request_id()},
                                        {"attempt", attempt},
                                        {"reason", v1::AbortReason_Name(reason)}});
  intake_.EndAttempt(*reservation);
  if (reason == v1::ABORT_REASON_FINISHED) return End(*reservation, absl::OkStatus());
  if (reason == v1::ABORT_REASON_DATA_LOSS) {
    metrics_.transfers_corrupt.Add();
    return End(*reservation, DataLoss("hand-over: slabs were lost or corrupted"));
  }
  // Everything else is between the prefill worker and the router, who rebinds or cancels.
  metrics_.transfers_lost.Add();
}

uint32_t DecodeWorker::BindPages(Reservation& reservation, const v1::KvProducer& producer) {
  const uint32_t matched_tokens = pages_.Match(reservation, producer);
  metrics_.prefix_tokens_reused.Add(matched_tokens);
  return matched_tokens;
}

void DecodeWorker::OnKvComplete(Reservation& reservation) {
  pages_.KvComplete(reservation);
  reservation.transfer_time = env_.clock.Now() - reservation.granted_at;
  metrics_.transfer_time.Observe(Seconds(reservation.transfer_time));
  Send(reservation, CommittedMessage(reservation, reservation.transfer_time));
  loop_.Add(reservation, reservation.receiver.commit().first_token());
}

// Ends --------------------------------------------------------------------------------------------

void DecodeWorker::Send(Reservation& reservation, v1::DecodeResponse message) {
  // A stream that has ended meanwhile says so by its StreamClosed.
  reservation.stream->Send(std::move(message)).IgnoreError();
}

void DecodeWorker::End(Reservation& reservation, const absl::Status& status, v1::RefuseCode code) {
  const TransferId transfer = reservation.transfer();
  if (reservation.receiver.state() == TransferReceiver::State::kReceiving) {
    sessions_.Send(reservation.session, AbortMessage(reservation, AbortReasonFor(status)));
    intake_.EndAttempt(reservation);
  }
  pages_.Release(reservation);
  if (reservation.phase == Phase::kDecoding) {
    loop_.Remove(reservation.key);
    code = v1::REFUSE_CODE_ALREADY_COMMITTED;
  }
  env_.logger.Info("request_ended", {{"request", reservation.request_id()},
                                     {"attempt", reservation.attempt()},
                                     {"tokens", reservation.sequence.output_tokens()},
                                     {"status", ToString(status)}});
  metrics_.RequestEnded(status.code());
  const Tombstone tombstone{reservation.attempt(), code};
  reservation.stream->Close(status);
  table_.Remove(reservation.key);
  opens_.Bury(transfer, tombstone, env_.clock.Now());
}

void DecodeWorker::EndAll(const absl::Status& status) {
  for (auto& [key, caller] : callers_) caller.stream->Close(status);
  callers_.clear();
  while (!table_.empty()) End(*table_.all().begin()->second, status);
}

void DecodeWorker::OnDeviceFailed(const absl::Status& status) {
  if (!health_.ok()) return;
  health_ = status;
  env_.logger.Error("device_failed", {{"status", ToString(status)}});
  EndAll(Unavailable("the device failed: {}", MessageOf(status)));
}

void DecodeWorker::Drain(TimePoint deadline) {
  draining_ = true;
  drain_deadline_ = deadline;
}

void DecodeWorker::Shutdown(const absl::Status& status) {
  EndAll(status);
  sessions_.CloseAll(status);
}

void DecodeWorker::Tick() {
  const TimePoint now = env_.clock.Now();
  if (now < sweep_due_) return;
  sweep_due_ = now + config_.sweep_period;
  Sweep(now);
  Settle();
  UpdateGauges();
}

void DecodeWorker::Sweep(TimePoint now) {
  std::vector<SequenceKey> late;
  for (const auto& [key, reservation] : table_.all()) {
    if (reservation->deadline <= now) late.push_back(key);
  }
  for (SequenceKey key : late) End(*table_.Find(key), DeadlineExceeded("the deadline has passed"));
  std::erase_if(callers_, [&](const auto& entry) {
    if (entry.second.deadline > now) return false;
    entry.second.stream->Close(DeadlineExceeded("the deadline has passed before start"));
    return true;
  });
  if (now >= drain_deadline_) EndAll(Unavailable("the time for draining is over"));
  intake_.Tick(now);
  opens_.Tick(now);
  if (now >= renewal_due_) RenewLeases(now);
}

void DecodeWorker::RenewLeases(TimePoint now) {
  renewal_due_ = now + config_.leases.renew_period;
  for (uint64_t session : sessions_.sessions()) {
    v1::HandoffResponse message;
    for (const TransferId& transfer : intake_.TransfersOf(session)) {
      message.mutable_renew()->add_transfer_ids(transfer.ToBytes());
    }
    for (const ParkedOpen& open : opens_.parked().all()) {
      if (open.session == session) {
        message.mutable_renew()->add_transfer_ids(open.transfer.ToBytes());
      }
    }
    if (message.has_renew()) sessions_.Send(session, std::move(message));
  }
}

v1::LoadReport DecodeWorker::Load() const {
  v1::LoadReport report;
  uint32_t queued_tokens = 0;
  for (const Reservation* queued : pages_.queue()) {
    queued_tokens += static_cast<uint32_t>(queued->sequence.prompt_tokens());
  }
  report.set_running(static_cast<uint32_t>(table_.all().size() - pages_.queue().size()));
  report.set_queued(static_cast<uint32_t>(pages_.queue().size()));
  report.set_queued_prompt_tokens(queued_tokens);
  report.set_pages_free(static_cast<uint32_t>(pages_.pool().available()));
  report.set_pages_total(static_cast<uint32_t>(pages_.pool().page_count()));
  report.set_draining(draining_);
  report.set_ready(!draining_ && health_.ok());
  return report;
}

void DecodeWorker::UpdateGauges() {
  const v1::LoadReport load = Load();
  metrics_.queue_depth.Set(load.queued());
  metrics_.queued_prompt_tokens.Set(load.queued_prompt_tokens());
  metrics_.pages_free.Set(load.pages_free());
  metrics_.pages_used.Set(load.pages_total() - load.pages_free());
  metrics_.pages_reserved.Set(pages_.waiting_pages());
  metrics_.page_usage.Set(1.0 - static_cast<double>(load.pages_free()) / load.pages_total());
}

bool DecodeWorker::idle() const {
  return callers_.empty() && table_.empty() && !loop_.busy() && intake_.scatters_in_flight() == 0 &&
         intake_.waiting_credits() == 0 && arena_.used() == 0 && opens_.parked().all().empty() &&
         pages_.waiting_pages() == 0;
}

}  // namespace baton
