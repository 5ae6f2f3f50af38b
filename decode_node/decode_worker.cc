#include "decode_node/decode_worker.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/base/status.h"

namespace baton {
namespace {

using Phase = Reservation::Phase;

absl::Status Validate(const DecodeWorker::Config& config, const KvPages& kv) {
  if (config.identity.worker_id().empty()) return InvalidArgument("worker id: empty");
  if (config.max_batch < 1) {
    return InvalidArgument("max batch: {}, expected at least 1", config.max_batch);
  }
  if (!(config.max_pending_kv > 0 && config.max_pending_kv <= 1)) {
    return InvalidArgument("max pending kv: {}, expected more than 0 and at most 1",
                           config.max_pending_kv);
  }
  if (config.slab_bytes <= kSlabHeaderBytes || config.slab_bytes > config.arena_bytes / 2) {
    return InvalidArgument("arena bytes: {}, expected at least two slabs of {} bytes",
                           config.arena_bytes, config.slab_bytes);
  }
  if (static_cast<int>(config.contract.page_tokens()) != kv.page_tokens) {
    return InvalidArgument("contract.page_tokens: {}, expected {} as the runner's",
                           config.contract.page_tokens(), kv.page_tokens);
  }
  return absl::OkStatus();
}

// What a router's cancellation looks like on the stream that it ends.
absl::Status CancelStatus(v1::CancelReason reason) {
  switch (reason) {
    case v1::CANCEL_REASON_FINISHED:
      return absl::OkStatus();
    case v1::CANCEL_REASON_DEADLINE:
      return DeadlineExceeded("the router cancelled the request: deadline");
    default:
      return Cancelled("the router cancelled the request: {}", v1::CancelReason_Name(reason));
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<DecodeWorker>> DecodeWorker::Create(Config config,
                                                                   Environment environment) {
  BATON_RETURN_IF_ERROR(Validate(config, environment.runner.kv()));
  std::unique_ptr<DecodeWorker> worker(new DecodeWorker(std::move(config), environment));
  DecodeWorker* self = worker.get();
  BATON_RETURN_IF_ERROR(environment.transport.RegisterArena(worker->arena_memory_.span()));
  BATON_ASSIGN_OR_RETURN(
      worker->kv_endpoint_,
      environment.transport.Listen(
          worker->config_.kv_listen, [self](std::unique_ptr<IncomingSlab> slab) {
            // A closure must be copyable; the slab is refused when the mailbox drops it.
            auto shared = std::make_shared<std::unique_ptr<IncomingSlab>>(std::move(slab));
            self->Post([self, shared] { self->intake_.OnIncoming(std::move(*shared)); });
          }));
  return worker;
}

DecodeWorker::DecodeWorker(Config config, Environment environment)
    : config_(std::move(config)),
      env_(environment),
      metrics_(env_.metrics),
      pages_({env_.runner.kv().page_count, env_.runner.kv().page_tokens, config_.prefix_cache}),
      arena_memory_(config_.arena_bytes),
      arena_(arena_memory_.span()),
      rule_(static_cast<int>(config_.max_pending_kv * env_.runner.kv().page_count)),
      sessions_(KeyOf(config_.identity), env_.logger,
                {.message =
                     [this](uint64_t session, const TransferId& transfer,
                            const v1::HandoffRequest& message) {
                       OnHandoffMessage(session, transfer, message);
                     },
                 .renew =
                     [this](uint64_t session, const std::vector<TransferId>& transfers) {
                       intake_.OnRenew(session, transfers, env_.clock.Now());
                     },
                 .lost =
                     [this](uint64_t session) {
                       opens_.SessionLost(session);
                       intake_.SessionLost(session);
                     }}),
      opens_(
          {.contract = config_.contract}, table_, sessions_,
          [this](Reservation& reservation, const v1::KvProducer& producer) {
            return BindPages(reservation, producer);
          },
          [this](Reservation& reservation) { intake_.Granted(reservation, env_.clock.Now()); }),
      intake_(config_.leases, arena_, env_.runner, env_.executor, table_, sessions_, metrics_,
              [this](std::function<void()> event) { Post(std::move(event)); },
              {.complete = [this](Reservation& reservation) { OnKvComplete(reservation); },
               .failed =
                   [this](Reservation& reservation, const absl::Status& status) {
                     metrics_.transfers_corrupt.Add();
                     End(reservation, DataLoss("hand-over: {}", MessageOf(status)));
                   },
               .device_failed = [this](const absl::Status& status) { OnDeviceFailed(status); }}),
      loop_({config_.max_batch}, policy_, env_.clock, env_.mailbox, env_.executor, env_.runner,
            table_, metrics_,
            {.ended = [this](Reservation& reservation,
                             const absl::Status& status) { End(reservation, status); },
             .device_failed = [this](const absl::Status& status) { OnDeviceFailed(status); },
             .step_done = [this] { Settle(); }}),
      next_renewal_(env_.clock.Now() + config_.leases.renew_period) {}

DecodeWorker::~DecodeWorker() { Shutdown(); }

void DecodeWorker::Post(std::function<void()> event) {
  env_.mailbox.Post([this, event = std::move(event)]() mutable {
    // What the event held, such as a span of the arena, is free again before Settle looks.
    std::exchange(event, nullptr)();
    Settle();
  });
}

void DecodeWorker::Settle() {
  AdmitQueued();
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
      return OnCancel(*reservation, message.cancel().reason());
    case v1::DecodeRequest::kStart:
      return End(*reservation, InvalidArgument("start: repeated, expected once per stream"));
    case v1::DecodeRequest::MESSAGE_NOT_SET:
      return End(*reservation, InvalidArgument("message: absent or unknown"));
  }
}

// The router's side -------------------------------------------------------------------------------

absl::StatusOr<std::unique_ptr<Reservation>> DecodeWorker::MakeReservation(
    SequenceKey key, const v1::DecodeStart& start) {
  BATON_ASSIGN_OR_RETURN(const TransferId transfer, TransferId::FromBytes(start.transfer_id()));
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
  BATON_ASSIGN_OR_RETURN(EngineRequest request, ParseRequest(start.request(), config_.limits));
  const int pages_needed = PagesFor(request.max_positions(), pages_.config().page_tokens);
  if (pages_needed > pages_.page_count()) {
    return InvalidArgument("prompt + max_tokens: {} tokens take {} pages, this worker has {}",
                           request.max_positions(), pages_needed, pages_.page_count());
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
  const auto caller = callers_.extract(key);
  const TimePoint now = env_.clock.Now();
  auto made = MakeReservation(key, start);
  const bool must_queue = made.ok() && (!queue_.empty() || !TryReserve(**made));
  if (must_queue && static_cast<int>(queue_.size()) >= config_.max_queue) {
    made = ResourceExhausted("{} requests wait for pages, expected fewer than {}", queue_.size(),
                             config_.max_queue);
  }
  const auto transfer = TransferId::FromBytes(start.transfer_id());
  if (!made.ok()) {
    env_.logger.Info("refused", {{"request", start.request().request_id()},
                                 {"attempt", start.attempt()},
                                 {"status", ToString(made.status())}});
    caller.mapped().stream->Close(made.status());
    if (transfer.ok() && table_.Find(*transfer) == nullptr &&
        !opens_.IsBuried(*transfer, start.attempt())) {
      opens_.Bury(*transfer, {start.attempt(), v1::REFUSE_CODE_NO_ROOM}, now);
    }
    return;
  }
  Reservation& reservation = table_.Add(*std::move(made));
  reservation.stream = caller.mapped().stream;
  reservation.deadline = caller.mapped().deadline;
  opens_.Exhume(*transfer);
  if (must_queue) {
    queue_.push_back(key);
    opens_.Retry(*transfer, now);
  } else {
    AnswerReserved(reservation);
  }
}

void DecodeWorker::OnRebind(Reservation& reservation, const v1::DecodeRebind& rebind) {
  if (rebind.attempt() <= reservation.attempt()) return;  // late or repeated
  intake_.EndAttempt(reservation);
  reservation.receiver.Rebind(rebind.attempt());
  reservation.prefill = KeyOf(rebind.prefill().identity());
  switch (reservation.phase) {
    case Phase::kQueued:
      return opens_.Retry(reservation.transfer(), env_.clock.Now());
    case Phase::kDecoding:
      SendCommitted(reservation);
      return opens_.Retry(reservation.transfer(), env_.clock.Now());
    case Phase::kWaiting:
      break;
  }
  if (reservation.matched_pages > 0) {
    // Shared pages cannot take the next producer's KV. All pages go back before others are taken:
    // nobody holds pages while it waits for pages.
    rule_.Settled(reservation.pages_needed);
    reservation.pages.Clear();
    reservation.matched_pages = 0;
    reservation.phase = Phase::kQueued;
    if (!TryReserve(reservation)) return queue_.push_front(reservation.key);
  }
  AnswerReserved(reservation);
}

void DecodeWorker::OnCancel(Reservation& reservation, v1::CancelReason reason) {
  End(reservation, CancelStatus(reason));
}

// Pages -------------------------------------------------------------------------------------------

bool DecodeWorker::TryReserve(Reservation& reservation) {
  if (!rule_.MayReserve(reservation.pages_needed)) return false;
  auto pages = pages_.TryTake(reservation.pages_needed);
  if (!pages) return false;
  reservation.pages.Append(*std::move(pages));
  reservation.phase = Phase::kWaiting;
  rule_.Reserved(reservation.pages_needed);
  return true;
}

void DecodeWorker::AnswerReserved(Reservation& reservation) {
  v1::DecodeResponse message;
  message.mutable_reserved()->set_attempt(reservation.attempt());
  Send(reservation, std::move(message));
  opens_.Retry(reservation.transfer(), env_.clock.Now());
}

void DecodeWorker::AdmitQueued() {
  while (!queue_.empty()) {
    Reservation& first = *table_.Find(queue_.front());
    if (!TryReserve(first)) return;
    queue_.pop_front();
    AnswerReserved(first);
  }
}

uint32_t DecodeWorker::BindPages(Reservation& reservation, const v1::KvProducer& producer) {
  reservation.producer = producer.SerializeAsString();
  const Sequence& sequence = reservation.sequence;
  std::vector<PageRef> matched = pages_.Match({reservation.producer, sequence.request().tenant},
                                              sequence.prompt(), sequence.prompt_tokens());
  const int count = static_cast<int>(matched.size());
  if (count > 0) {
    PageTable pages;
    pages.Append(std::move(matched));
    for (int i = count; i < reservation.pages_needed; ++i) {
      pages.Append(reservation.pages.page(i).Share());
    }
    reservation.pages = std::move(pages);
    reservation.matched_pages = count;
  }
  const int matched_tokens = count * pages_.config().page_tokens;
  metrics_.prefix_tokens_reused.Add(static_cast<uint64_t>(matched_tokens));
  return static_cast<uint32_t>(matched_tokens);
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

void DecodeWorker::OnKvComplete(Reservation& reservation) {
  rule_.Settled(reservation.pages_needed);
  reservation.phase = Phase::kDecoding;
  const Sequence& sequence = reservation.sequence;
  pages_.Cache({reservation.producer, sequence.request().tenant}, sequence.prompt(),
               reservation.pages);
  metrics_.transfer_time.Observe(Seconds(env_.clock.Now() - reservation.granted_at));
  SendCommitted(reservation);
  loop_.Add(reservation, reservation.receiver.commit().first_token());
}

void DecodeWorker::SendCommitted(Reservation& reservation) {
  const TransferReceiver& receiver = reservation.receiver;
  const uint32_t tokens = receiver.config().prompt_tokens - receiver.first_wanted();
  v1::DecodeResponse message;
  v1::DecodeCommitted* committed = message.mutable_committed();
  committed->set_attempt(reservation.attempt());
  committed->set_first_token(receiver.commit().first_token());
  if (receiver.commit().has_logprobs()) {
    *committed->mutable_logprobs() = receiver.commit().logprobs();
  }
  committed->set_transfer_ms(Milliseconds(env_.clock.Now() - reservation.granted_at));
  committed->set_bytes_raw(kernels::KvRawBytes(receiver.config().geometry, tokens));
  committed->set_bytes_wire(receiver.bytes_wire());
  committed->set_wire_format(receiver.wire_format());
  committed->set_slabs(receiver.slabs());
  committed->set_tokens(tokens);
  Send(reservation, std::move(message));
}

// Ends --------------------------------------------------------------------------------------------

void DecodeWorker::Send(Reservation& reservation, v1::DecodeResponse message) {
  // A stream that has ended meanwhile says so by its StreamClosed.
  reservation.stream->Send(std::move(message)).IgnoreError();
}

void DecodeWorker::End(Reservation& reservation, const absl::Status& status, v1::RefuseCode code) {
  const TransferId transfer = reservation.transfer();
  if (reservation.receiver.state() == TransferReceiver::State::kReceiving) {
    v1::HandoffResponse message;
    message.set_transfer_id(transfer.ToBytes());
    message.set_attempt(reservation.attempt());
    message.mutable_abort()->set_reason(status.ok() ? v1::ABORT_REASON_FINISHED
                                        : status.code() == absl::StatusCode::kDataLoss
                                            ? v1::ABORT_REASON_DATA_LOSS
                                            : v1::ABORT_REASON_CANCELLED);
    sessions_.Send(reservation.session, std::move(message));
    intake_.EndAttempt(reservation);
  }
  switch (reservation.phase) {
    case Phase::kQueued:
      std::erase(queue_, reservation.key);
      break;
    case Phase::kWaiting:
      rule_.Settled(reservation.pages_needed);
      break;
    case Phase::kDecoding:
      loop_.Remove(reservation.key);
      code = v1::REFUSE_CODE_ALREADY_COMMITTED;
      break;
  }
  env_.logger.Info("request_ended", {{"request", reservation.request_id()},
                                     {"attempt", reservation.attempt()},
                                     {"tokens", reservation.sequence.output_tokens()},
                                     {"status", ToString(status)}});
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

void DecodeWorker::Drain() {
  if (draining_) return;
  draining_ = true;
  drain_deadline_ = env_.clock.Now() + config_.drain_timeout;
}

void DecodeWorker::Shutdown() {
  EndAll(Unavailable("the worker shuts down"));
  sessions_.CloseAll(Unavailable("the worker shuts down"));
}

void DecodeWorker::Tick() {
  const TimePoint now = env_.clock.Now();
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
  if (draining_ && now >= drain_deadline_) EndAll(Unavailable("the worker drains no longer"));
  intake_.Tick(now);
  opens_.Tick(now);
  if (now >= next_renewal_) RenewLeases(now);
  Settle();
  UpdateGauges();
}

void DecodeWorker::RenewLeases(TimePoint now) {
  next_renewal_ = now + config_.leases.renew_period;
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
  for (SequenceKey key : queue_) {
    queued_tokens += static_cast<uint32_t>(table_.Find(key)->sequence.prompt_tokens());
  }
  report.set_running(static_cast<uint32_t>(table_.all().size() - queue_.size()));
  report.set_queued(static_cast<uint32_t>(queue_.size()));
  report.set_queued_prompt_tokens(queued_tokens);
  report.set_pages_free(static_cast<uint32_t>(pages_.available()));
  report.set_pages_total(static_cast<uint32_t>(pages_.page_count()));
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
  metrics_.pages_reserved.Set(rule_.waiting_pages());
  metrics_.page_usage.Set(1.0 - static_cast<double>(load.pages_free()) / load.pages_total());
}

bool DecodeWorker::idle() const {
  return callers_.empty() && table_.empty() && queue_.empty() && !loop_.busy() &&
         intake_.scatters_in_flight() == 0 && intake_.waiting_credits() == 0 &&
         arena_.used() == 0 && opens_.parked().all().empty() && rule_.waiting_pages() == 0;
}

}  // namespace baton
