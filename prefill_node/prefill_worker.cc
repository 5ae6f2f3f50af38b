#include "prefill_node/prefill_worker.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/base/status.h"
#include "prefill_node/responses.h"

namespace baton {
namespace {

absl::Status CheckConfig(const PrefillWorker::Config& config, const KvPages& kv) {
  const v1::KvGeometry& geometry = config.contract.geometry();
  if (static_cast<int>(geometry.layers()) != kv.geometry.layers ||
      static_cast<int>(geometry.kv_heads()) != kv.geometry.kv_heads ||
      static_cast<int>(geometry.head_dim()) != kv.geometry.head_dim) {
    return InvalidArgument("contract.geometry: {} x {} x {}, expected the runner's {} x {} x {}",
                           geometry.layers(), geometry.kv_heads(), geometry.head_dim(),
                           kv.geometry.layers, kv.geometry.kv_heads, kv.geometry.head_dim);
  }
  if (config.chunk_tokens < 1) {
    return InvalidArgument("chunk tokens: {}, expected at least 1", config.chunk_tokens);
  }
  if (config.max_batch < 1) {
    return InvalidArgument("max batch: {}, expected at least 1", config.max_batch);
  }
  if (config.max_queue < 1) {
    return InvalidArgument("max queue: {}, expected at least 1", config.max_queue);
  }
  return absl::OkStatus();
}

absl::Status StatusOf(v1::CancelReason reason) {
  switch (reason) {
    case v1::CANCEL_REASON_FINISHED:
      return absl::OkStatus();
    case v1::CANCEL_REASON_DEADLINE:
      return DeadlineExceeded("cancelled: the deadline has passed");
    default:
      return Cancelled("cancelled by the router: {}", v1::CancelReason_Name(reason));
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<PrefillWorker>> PrefillWorker::Create(Config config,
                                                                     Collaborators collaborators) {
  BATON_RETURN_IF_ERROR(CheckConfig(config, collaborators.runner.kv()));
  std::unique_ptr<PrefillWorker> worker(new PrefillWorker(std::move(config), collaborators));
  const Config& c = worker->config_;
  BATON_ASSIGN_OR_RETURN(
      worker->handoff_,
      HandoffClient::Create({.sender = {.geometry = collaborators.runner.kv().geometry,
                                        .contract = c.contract,
                                        .slab_bytes = c.slab_bytes,
                                        .slab_timeout = c.slab_timeout},
                             .self = c.self,
                             .arena_bytes = c.arena_bytes,
                             .renew_period = c.lease.renew_period},
                            {collaborators.runner, collaborators.executor, collaborators.mailbox,
                             collaborators.clock, collaborators.transport, collaborators.opener},
                            worker->HandoffEvents()));
  return worker;
}

PrefillWorker::PrefillWorker(Config config, Collaborators& collaborators)
    : config_(std::move(config)),
      mailbox_(collaborators.mailbox),
      clock_(collaborators.clock),
      logger_(collaborators.logger),
      metrics_(collaborators.metrics, config_.transport),
      admission_{.request = config_.limits,
                 .self = Incarnation(config_.self.incarnation()),
                 .page_tokens = collaborators.runner.kv().page_tokens,
                 .page_count = collaborators.runner.kv().page_count},
      scheduler_({.producer = config_.contract.producer().SerializeAsString(),
                  .chunk_tokens = config_.chunk_tokens,
                  .max_batch = config_.max_batch,
                  .prefix_cache = config_.prefix_cache},
                 collaborators.runner, collaborators.executor, collaborators.mailbox,
                 collaborators.clock, metrics_, SchedulerEvents()),
      leases_(config_.lease) {}

// Sessions hold pages: they go before the scheduler and its pool.
PrefillWorker::~PrefillWorker() {
  Shutdown(Unavailable("the prefill worker has stopped"));
  handoff_.reset();
}

HandoffClient::Events PrefillWorker::HandoffEvents() {
  return {.share_pages =
              [this](TransferId id) {
                PrefillJob* job = JobOf(id);
                BATON_CHECK(job != nullptr);
                return job->pages.Share();
              },
          .ended = [this](const TransferKey& key,
                          const TransferEnded& ended) { OnTransferEnded(key, ended); },
          .renewed = [this](TransferId id) { leases_.Renew(id, clock_.Now()); },
          .device_failed = [this](const absl::Status& status) { OnDeviceFailed(status); }};
}

PrefillScheduler::Events PrefillWorker::SchedulerEvents() {
  return {
      .secured = [this](const PrefillJob& job) { return !job.decode || handoff_->granted(job.id); },
      .progressed =
          [this](PrefillJob& job, std::optional<SampledToken> sampled) {
            OnProgress(job, std::move(sampled));
          },
      .displaced = [this](PrefillJob& job) { OnDisplaced(job); },
      .device_failed = [this](const absl::Status& status) { OnDeviceFailed(status); }};
}

StreamAcceptor<v1::PrefillResponse, v1::PrefillRequest> PrefillWorker::acceptor() {
  return [this](std::shared_ptr<Stream> stream, TimePoint deadline) {
    const SessionId id = next_session_++;
    mailbox_.Post([this, id, stream = std::move(stream), deadline]() mutable {
      sessions_.emplace(id, Session{std::move(stream), deadline, nullptr});
    });
    return [this, id](StreamEvent<v1::PrefillRequest> event) {
      mailbox_.Post([this, id, event = std::move(event)] { OnStreamEvent(id, event); });
    };
  };
}

void PrefillWorker::Tick() {
  const TimePoint now = clock_.Now();
  if (now >= sweep_due_) {
    Sweep(now);
    sweep_due_ = now + config_.sweep_period;
  }
  if (failure_.ok()) scheduler_.Schedule();
}

void PrefillWorker::Drain(TimePoint deadline) {
  draining_ = true;
  drain_deadline_ = std::min(drain_deadline_, deadline);
}

void PrefillWorker::Shutdown(const absl::Status& status) {
  while (!sessions_.empty()) End(sessions_.begin()->first, status, v1::ABORT_REASON_SHUTDOWN);
  if (handoff_) handoff_->Clear();
}

v1::LoadReport PrefillWorker::Load() const {
  v1::LoadReport load;
  const int waiting = scheduler_.waiting();
  load.set_queued(waiting);
  load.set_running(static_cast<uint32_t>(by_transfer_.size()) - waiting);
  load.set_queued_prompt_tokens(static_cast<uint32_t>(scheduler_.waiting_tokens()));
  load.set_pages_free(scheduler_.pages().available());
  load.set_pages_total(scheduler_.pages().page_count());
  load.set_draining(draining_);
  load.set_ready(!draining_ && failure_.ok());
  return load;
}

bool PrefillWorker::idle() const {
  const PagePool& pages = scheduler_.pages();
  return sessions_.empty() && by_transfer_.empty() && leases_.size() == 0 && handoff_->idle() &&
         !scheduler_.step_in_flight() && pages.allocator().used_count() == pages.index().size();
}

void PrefillWorker::OnStreamEvent(SessionId id, const StreamEvent<v1::PrefillRequest>& event) {
  const auto found = sessions_.find(id);
  if (found == sessions_.end()) return;  // ended by this side
  if (std::holds_alternative<StreamClosed>(event)) {
    return End(id, Cancelled("the router went away"), v1::ABORT_REASON_CANCELLED);
  }
  const auto& message = std::get<v1::PrefillRequest>(event);
  absl::Status status;
  switch (message.message_case()) {
    case v1::PrefillRequest::kStart:
      status = OnStart(id, message.start());
      break;
    case v1::PrefillRequest::kRebind:
      status = OnRebind(found->second, message.rebind());
      break;
    case v1::PrefillRequest::kCancel:
      return OnCancel(id, message.cancel().reason());
    case v1::PrefillRequest::MESSAGE_NOT_SET:
      status = InvalidArgument("message: empty, expected start, rebind or cancel");
      break;
  }
  if (status.ok()) return;
  End(id, status, v1::ABORT_REASON_CANCELLED);
}

absl::Status PrefillWorker::OnStart(SessionId id, const v1::PrefillStart& start) {
  Session& session = sessions_.at(id);
  if (session.job) return InvalidArgument("start: the second one on this stream");
  if (!failure_.ok()) return failure_;
  if (draining_) return Unavailable("the worker drains");
  if (session.deadline <= clock_.Now()) return DeadlineExceeded("the deadline has passed");
  BATON_ASSIGN_OR_RETURN(PrefillTask task, ParseStart(start, admission_));
  if (by_transfer_.contains(task.id)) {
    return AlreadyExists("transfer {} is live on this worker", task.id.ToString());
  }
  if (scheduler_.waiting() >= config_.max_queue) {
    return ResourceExhausted("queue: {} requests wait, at most {} may", scheduler_.waiting(),
                             config_.max_queue);
  }
  session.job = std::make_unique<PrefillJob>(id, std::move(task), clock_.Now());
  PrefillJob& job = *session.job;
  by_transfer_.emplace(job.id, id);
  metrics_.prompt_tokens.Add(job.sequence.prompt_tokens());
  scheduler_.Add(job);
  Tell(job, StartedResponse(job));
  if (job.decode) Attach(job);
  return absl::OkStatus();
}

absl::Status PrefillWorker::OnRebind(Session& session, const v1::PrefillRebind& rebind) {
  if (!session.job || !session.job->decode) {
    return InvalidArgument("rebind: no transfer on this stream");
  }
  PrefillJob& job = *session.job;
  BATON_ASSIGN_OR_RETURN(RebindTask task, ParseRebind(rebind, admission_));
  if (task.attempt <= job.attempt) {
    return InvalidArgument("rebind.attempt: {}, expected more than {}", task.attempt, job.attempt);
  }
  Detach(job, v1::ABORT_REASON_REBOUND);
  job.attempt = task.attempt;
  job.decode = std::move(task.decode);
  const bool announce = job.first.has_value() && !task.forced;
  if (task.forced) {
    job.forced = std::move(task.forced);
    if (job.first) job.first = job.forced;
  }
  Attach(job);
  // The router drops what carries a former attempt.
  if (announce) Tell(job, FirstTokenResponse(job));
  return absl::OkStatus();
}

void PrefillWorker::OnCancel(SessionId id, v1::CancelReason reason) {
  End(id, StatusOf(reason),
      reason == v1::CANCEL_REASON_FINISHED ? v1::ABORT_REASON_FINISHED
                                           : v1::ABORT_REASON_CANCELLED);
}

void PrefillWorker::OnProgress(PrefillJob& job, std::optional<SampledToken> sampled) {
  if (!job.computed()) return handoff_->Computed(job.id, SendableEnd(job));
  job.computed_at = clock_.Now();
  if (job.forced) {
    job.first = job.forced;
  } else {
    BATON_CHECK(sampled.has_value());
    job.first =
        FirstOutput{sampled->token, ReportLogprobs(job.sequence.request().sampling, *sampled)};
  }
  metrics_.prefix_tokens_reused.Add(job.cached_tokens);
  metrics_.queue_time.Observe(Seconds(job.computing_since - job.arrived));
  metrics_.prefill_time.Observe(Seconds(job.computed_at - job.computing_since));
  Tell(job, FirstTokenResponse(job));
  if (CheckStop(job.sequence.request().stop, job.first->token, 1)) {
    Detach(job, v1::ABORT_REASON_FINISHED);
    return Deliver(job);
  }
  handoff_->Computed(job.id, SendableEnd(job));
  handoff_->FirstToken(job.id, job.first->token, job.first->logprobs);
}

void PrefillWorker::OnTransferEnded(const TransferKey& key, const TransferEnded& ended) {
  PrefillJob* job = JobOf(key.id);
  BATON_CHECK(job != nullptr && job->attempt == key.attempt);
  Detach(*job, v1::ABORT_REASON_CANCELLED);  // has ended: nothing is sent
  switch (ended.outcome) {
    case TransferEnded::Outcome::kDelivered:
      metrics_.transfer_time.Observe(Seconds(clock_.Now() - job->opened));
      return Deliver(*job);
    case TransferEnded::Outcome::kRefused:
      logger_.Info("prefill.refused", {{"request", job->sequence.request().id.value()},
                                       {"attempt", job->attempt},
                                       {"decode", job->decode->worker.value()},
                                       {"code", v1::RefuseCode_Name(ended.code)},
                                       {"why", std::string(MessageOf(ended.status))}});
      return ReportRefused(*job, ended.code, ended.mismatches);
    case TransferEnded::Outcome::kFailed:
      ReportRefused(*job, ended.code, {});
      return End(job->key, ended.status, v1::ABORT_REASON_CANCELLED);
  }
}

void PrefillWorker::OnDisplaced(PrefillJob& job) {
  ReportRefused(job, v1::REFUSE_CODE_KV_DROPPED, {});
  End(job.key, Aborted("kv_dropped: the KV made room for another request"),
      v1::ABORT_REASON_KV_DROPPED);
}

void PrefillWorker::OnLeaseExpired(TransferId id) {
  PrefillJob* job = JobOf(id);
  BATON_CHECK(job != nullptr);
  metrics_.leases_expired.Add();
  ReportRefused(*job, v1::REFUSE_CODE_LEASE_EXPIRED, {});
  End(job->key, Aborted("lease_expired: no decode worker kept the KV alive"),
      v1::ABORT_REASON_LEASE_EXPIRED);
}

void PrefillWorker::OnDeviceFailed(const absl::Status& status) {
  logger_.Error("prefill.device_failed", {{"status", ToString(status)}});
  failure_ = Unavailable("the device failed: {}", MessageOf(status));
  Shutdown(failure_);
}

void PrefillWorker::Attach(PrefillJob& job) {
  job.opened = clock_.Now();
  leases_.Grant(job.id, job.opened);
  handoff_->Open({.id = job.id,
                  .attempt = job.attempt,
                  .request_id = job.sequence.request().id.value(),
                  .prompt_tokens = static_cast<uint32_t>(job.sequence.prompt_tokens())},
                 *job.decode);
  if (!job.waits_for_pages()) handoff_->Computed(job.id, SendableEnd(job));
  if (job.first) handoff_->FirstToken(job.id, job.first->token, job.first->logprobs);
}

void PrefillWorker::Detach(PrefillJob& job, v1::AbortReason reason) {
  const HandoffClient::Cost cost = handoff_->cost(job.id);
  job.pack_time += cost.pack_time;
  metrics_.transfer_bytes.Add(cost.bytes_wire);
  handoff_->Close(job.id, reason);
}

void PrefillWorker::Tell(const PrefillJob& job, v1::PrefillResponse response) {
  // A stream that cannot send any more reports its end through the sink.
  (void)sessions_.at(job.key).stream->Send(std::move(response));
}

void PrefillWorker::ReportRefused(const PrefillJob& job, v1::RefuseCode code,
                                  const std::vector<v1::Mismatch>& mismatches) {
  metrics_.TransferFailed(code);
  Tell(job, RefusedResponse(job, code, mismatches));
}

void PrefillWorker::Deliver(PrefillJob& job) {
  Tell(job, DeliveredResponse(job));
  End(job.key, absl::OkStatus(), v1::ABORT_REASON_FINISHED);
}

void PrefillWorker::UpdateGauges() {
  const PagePool& pages = scheduler_.pages();
  metrics_.queue_depth.Set(scheduler_.waiting());
  metrics_.queued_prompt_tokens.Set(static_cast<double>(scheduler_.waiting_tokens()));
  metrics_.pages_free.Set(pages.available());
  metrics_.pages_used.Set(pages.page_count() - pages.available());
  int pending = 0;
  for (const auto& [id, session] : sessions_) {
    if (session.job && session.job->computed()) pending += session.job->pages.size();
  }
  metrics_.pages_pending.Set(pending);
  metrics_.page_usage.Set(1.0 - static_cast<double>(pages.available()) / pages.page_count());
}

void PrefillWorker::Sweep(TimePoint now) {
  UpdateGauges();
  handoff_->Tick(now);
  for (TransferId id : leases_.TakeExpired(now)) OnLeaseExpired(id);
  for (auto it = sessions_.begin(); it != sessions_.end();) {
    const auto& [id, session] = *it++;
    if (session.deadline > now) continue;
    End(id, DeadlineExceeded("the deadline has passed"), v1::ABORT_REASON_CANCELLED);
  }
  if (now >= drain_deadline_) Shutdown(Unavailable("the worker drains and its time is over"));
}

void PrefillWorker::End(SessionId id, const absl::Status& status, v1::AbortReason reason) {
  const auto found = sessions_.find(id);
  Session session = std::move(found->second);
  if (session.job) {
    logger_.Info("prefill.ended", {{"request", session.job->sequence.request().id.value()},
                                   {"worker", config_.self.worker_id()},
                                   {"attempt", session.job->attempt},
                                   {"status", ToString(status)}});
    metrics_.RequestEnded(status.code());
    Detach(*session.job, reason);
    leases_.Release(session.job->id);
    by_transfer_.erase(session.job->id);
    scheduler_.Remove(*session.job);
  }
  sessions_.erase(found);
  session.stream->Close(status);
}

PrefillJob* PrefillWorker::JobOf(TransferId id) {
  const auto found = by_transfer_.find(id);
  return found == by_transfer_.end() ? nullptr : sessions_.at(found->second).job.get();
}

// Whole pages while more is computed: no lane reads a page that the other writes.
uint32_t PrefillWorker::SendableEnd(const PrefillJob& job) const {
  const int computed = job.sequence.computed();
  return job.computed() ? computed : computed / admission_.page_tokens * admission_.page_tokens;
}

}  // namespace baton
