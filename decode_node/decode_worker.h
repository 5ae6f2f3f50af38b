#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "baton/v1/decode.pb.h"
#include "baton/v1/handoff.pb.h"
#include "baton/v1/registry.pb.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mailbox.h"
#include "common/engine/executor.h"
#include "common/engine/model_runner.h"
#include "common/engine/request.h"
#include "common/handoff/bulk_transport.h"
#include "common/kv/lease_table.h"
#include "common/metrics/registry.h"
#include "decode_node/decode_loop.h"
#include "decode_node/decode_metrics.h"
#include "decode_node/decode_policy.h"
#include "decode_node/handoff_sessions.h"
#include "decode_node/open_desk.h"
#include "decode_node/page_desk.h"
#include "decode_node/reservation.h"
#include "decode_node/slab_intake.h"
#include "kernels/numeric/aligned_buffer.h"

namespace baton {

// A decode worker: reserves pages for requests of routers, takes in their KV from prefill workers,
// decodes (README.md: parts, states, rules).
//
// Threading: AcceptDecode and AcceptHandoff are thread-safe, everything else belongs to the engine
// thread, which runs the Mailbox and calls Tick.
// Lifetime: before its end the transport is closed, the executor stopped, and the mailbox runs no
// more events.
class DecodeWorker {
 public:
  struct Config {
    v1::WorkerIdentity identity;
    v1::KvContract contract;  // wire_formats and page_tokens as the runner's
    RequestLimits limits;
    std::string kv_listen;  // endpoint of the bulk listener
    bool prefix_cache = true;
    int max_batch = 32;
    int max_queue = 64;             // requests that wait for pages
    double max_pending_kv = 0.5;    // share of the pages for reservations that wait for KV
    uint64_t slab_bytes = 4 << 20;  // largest slab granted, header and payload
    uint64_t arena_bytes = 64 << 20;
    LeaseConfig leases;
    Duration sweep_period = std::chrono::milliseconds(10);  // of deadlines and leases
    std::string transport = "local";                        // as metrics name it
  };
  // All outlive the worker.
  struct Environment {
    Clock& clock;
    Mailbox& mailbox;
    Executor& executor;
    ModelRunner& runner;
    BulkTransport& transport;
    Logger& logger;
    MetricRegistry& metrics;
  };
  using DecodeStream = EventStream<v1::DecodeResponse, v1::DecodeRequest>;
  using HandoffStream = EventStream<v1::HandoffResponse, v1::HandoffRequest>;

  // Allocates and registers the arena and starts to listen for slabs.
  static absl::StatusOr<std::unique_ptr<DecodeWorker>> Create(Config config,
                                                              Environment environment);
  ~DecodeWorker();

  // StreamAcceptors of the two services.
  StreamSink<v1::DecodeRequest> AcceptDecode(std::shared_ptr<DecodeStream> stream,
                                             TimePoint deadline);
  StreamSink<v1::HandoffRequest> AcceptHandoff(std::shared_ptr<HandoffStream> stream,
                                               TimePoint deadline);

  // Deadlines, leases, parked Opens, drain. After each batch of events and at least every 10 ms.
  void Tick();
  // Refuses new requests from now on; what is left at `deadline` ends with UNAVAILABLE.
  void Drain(TimePoint deadline);
  // Ends every request with `status` and drops all hand-over streams. Idempotent.
  void Shutdown(const absl::Status& status);

  const std::string& kv_endpoint() const { return kv_endpoint_; }
  v1::LoadReport Load() const;
  bool draining() const { return draining_; }
  // Draining, and nothing is left to do.
  bool drained() const { return draining_ && table_.empty(); }
  // Not OK once the device failed: the worker has ended all requests and takes no more.
  const absl::Status& health() const { return health_; }

  // For tests and inspection: nothing is accepted, in flight or held.
  bool idle() const;
  const PagePool& pages() const { return pages_.pool(); }
  const Arena& arena() const { return arena_; }
  const ReservationTable& reservations() const { return table_; }
  int parked_opens() const { return static_cast<int>(opens_.parked().all().size()); }

 private:
  // A Decode stream whose Start has not come.
  struct Caller {
    std::shared_ptr<DecodeStream> stream;
    TimePoint deadline;
  };

  DecodeWorker(Config config, Environment environment);

  // Posts a closure to the engine thread, followed by Settle.
  void Post(std::function<void()> event);
  // What may have become possible by an event: reservations, credits, a step.
  void Settle();

  void OnDecodeEvent(SequenceKey key, StreamEvent<v1::DecodeRequest> event);
  void OnStart(SequenceKey key, const v1::DecodeStart& start);
  // Why the worker as it is cannot take this Start, if so.
  absl::Status CheckStart(const TransferId& transfer, const v1::DecodeStart& start) const;
  absl::StatusOr<std::unique_ptr<Reservation>> MakeReservation(SequenceKey key,
                                                               const TransferId& transfer,
                                                               const v1::DecodeStart& start) const;
  // Takes a new reservation in, or says why not.
  absl::Status Enter(std::unique_ptr<Reservation> reservation, Caller caller);
  void OnRebind(Reservation& reservation, const v1::DecodeRebind& rebind);
  void OnHandoffMessage(uint64_t session, const TransferId& transfer,
                        const v1::HandoffRequest& message);
  void OnHandoffAbort(uint64_t session, const TransferId& transfer, uint32_t attempt,
                      v1::AbortReason reason);

  void AnswerReserved(Reservation& reservation);
  uint32_t BindPages(Reservation& reservation, const v1::KvProducer& producer);
  void OnKvComplete(Reservation& reservation);
  void Sweep(TimePoint now);
  void RenewLeases(TimePoint now);

  // The one way out for a reservation: frees everything, closes its stream, tells the prefill
  // worker, leaves a tombstone.
  void End(Reservation& reservation, const absl::Status& status,
           v1::RefuseCode code = v1::REFUSE_CODE_ENDED);
  void EndAll(const absl::Status& status);
  void Send(Reservation& reservation, v1::DecodeResponse message);
  void OnDeviceFailed(const absl::Status& status);
  void UpdateGauges();

  const Config config_;
  const Environment env_;
  DecodeMetrics metrics_;
  PageDesk pages_;
  kernels::AlignedBuffer<std::byte> arena_memory_;
  Arena arena_;
  ReservationTable table_;
  HandoffSessions sessions_;
  OpenDesk opens_;
  SlabIntake intake_;
  const DecodePolicy policy_;
  DecodeLoop loop_;
  std::string kv_endpoint_;
  std::atomic<uint64_t> next_id_{1};  // of streams of both kinds
  std::map<SequenceKey, Caller> callers_;
  bool draining_ = false;
  TimePoint drain_deadline_ = TimePoint::max();
  TimePoint sweep_due_ = TimePoint::min();
  TimePoint renewal_due_;
  absl::Status health_;
};

}  // namespace baton
