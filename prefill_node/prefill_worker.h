#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "baton/v1/prefill.pb.h"
#include "baton/v1/registry.pb.h"
#include "common/base/log.h"
#include "common/base/mailbox.h"
#include "common/handoff/handoff_client.h"
#include "common/kv/lease_table.h"
#include "common/stream/event_stream.h"
#include "prefill_node/prefill_job.h"
#include "prefill_node/prefill_scheduler.h"

namespace baton {

// A prefill worker: takes requests from routers, computes their prompts, reports the first token
// and hands the KV over (protocol.md; states in README.md).
//
// Threading: everything but acceptor()'s result belongs to the thread that runs the mailbox (the
// engine thread), which also calls Tick after each batch of events and at least every 10 ms.
// Lifetime: Shutdown, then stop the executor, close the transport and stop the mailbox before the
// worker goes away.
class PrefillWorker {
 public:
  struct Config {
    v1::WorkerIdentity self;
    v1::KvContract contract;  // geometry and wire formats as the runner has them
    RequestLimits limits;
    int max_queue = 256;  // requests that wait for pages
    int chunk_tokens = 256;
    int max_batch = 64;
    bool prefix_cache = true;
    uint64_t slab_bytes = 4 << 20;
    size_t arena_bytes = 64 << 20;
    Duration slab_timeout = std::chrono::seconds(5);
    LeaseConfig lease;
    std::string transport = "local";                        // as metrics name it
    Duration sweep_period = std::chrono::milliseconds(10);  // of deadlines and leases
  };
  struct Collaborators {  // outlive the worker
    ModelRunner& runner;
    Executor& executor;
    Mailbox& mailbox;
    Clock& clock;
    BulkTransport& transport;
    HandoffLinks::Opener opener;
    Logger& logger;
    MetricRegistry& metrics;
  };

  // INVALID_ARGUMENT when configuration and runner contradict each other.
  static absl::StatusOr<std::unique_ptr<PrefillWorker>> Create(Config config,
                                                               Collaborators collaborators);
  ~PrefillWorker();

  // Serves the Prefill conversation. Thread-safe.
  StreamAcceptor<v1::PrefillResponse, v1::PrefillRequest> acceptor();

  // Deadlines, leases, slab time-outs, the next step.
  void Tick();
  // Refuses new requests from now on; what is left at `deadline` ends with UNAVAILABLE.
  void Drain(TimePoint deadline);
  // Ends every request with `status` and drops all links. Idempotent.
  void Shutdown(const absl::Status& status);

  v1::LoadReport Load() const;
  const PrefillMetrics& metrics() const { return metrics_; }
  bool draining() const { return draining_; }
  // Draining, and nothing accepted is left.
  bool drained() const { return draining_ && sessions_.empty() && handoff_->idle(); }
  // No request, no transfer, no page in use but cached ones.
  bool idle() const;
  const PrefillScheduler& scheduler() const { return scheduler_; }
  const HandoffClient& handoff() const { return *handoff_; }

 private:
  using Stream = EventStream<v1::PrefillResponse, v1::PrefillRequest>;
  using SessionId = SequenceKey;
  struct Session {
    std::shared_ptr<Stream> stream;
    TimePoint deadline;
    std::unique_ptr<PrefillJob> job;  // null before Start
  };

  PrefillWorker(Config config, Collaborators& collaborators);
  HandoffClient::Events HandoffEvents();
  PrefillScheduler::Events SchedulerEvents();

  void OnStreamEvent(SessionId id, const StreamEvent<v1::PrefillRequest>& event);
  absl::Status OnStart(SessionId id, const v1::PrefillStart& start);
  absl::Status OnRebind(Session& session, const v1::PrefillRebind& rebind);
  void OnCancel(SessionId id, v1::CancelReason reason);
  void OnProgress(PrefillJob& job, std::optional<SampledToken> sampled);
  void OnTransferEnded(const TransferKey& key, const TransferEnded& ended);
  void OnDisplaced(PrefillJob& job);
  void OnLeaseExpired(TransferId id);
  void OnDeviceFailed(const absl::Status& status);

  // Opens the job's attempt / ends it from this side.
  void Attach(PrefillJob& job);
  void Detach(PrefillJob& job, v1::AbortReason reason);
  void Tell(const PrefillJob& job, v1::PrefillResponse response);
  void ReportRefused(const PrefillJob& job, v1::RefuseCode code,
                     const std::vector<v1::Mismatch>& mismatches);
  void Deliver(PrefillJob& job);
  void Sweep(TimePoint now);
  void UpdateGauges();
  // Ends a session and whatever belongs to it.
  void End(SessionId id, const absl::Status& status, v1::AbortReason reason);
  PrefillJob* JobOf(TransferId id);
  uint32_t SendableEnd(const PrefillJob& job) const;

  const Config config_;
  Mailbox& mailbox_;
  Clock& clock_;
  Logger& logger_;
  PrefillMetrics metrics_;
  const AdmissionLimits admission_;
  std::unique_ptr<HandoffClient> handoff_;
  PrefillScheduler scheduler_;
  LeaseTable<TransferId> leases_;  // of pages, from Open on
  std::map<SessionId, Session> sessions_;
  std::map<TransferId, SessionId> by_transfer_;
  std::atomic<SessionId> next_session_{1};
  bool draining_ = false;
  TimePoint drain_deadline_ = TimePoint::max();
  TimePoint sweep_due_ = TimePoint::min();
  absl::Status failure_;  // of the device: refuses everything
};

}  // namespace baton
