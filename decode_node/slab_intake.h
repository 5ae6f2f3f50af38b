#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "baton/v1/handoff.pb.h"
#include "common/base/clock.h"
#include "common/engine/executor.h"
#include "common/engine/model_runner.h"
#include "common/handoff/arena.h"
#include "common/handoff/bulk_transport.h"
#include "common/handoff/credit_queue.h"
#include "common/kv/lease_table.h"
#include "decode_node/decode_metrics.h"
#include "decode_node/handoff_sessions.h"
#include "decode_node/reservation.h"

namespace baton {

// Takes the KV of granted transfers in: credits, landings, scattering, acknowledgements, Commit,
// and the leases of what lies in the arena. Engine thread only; slabs and completions of lanes
// arrive there by `post`.
class SlabIntake {
 public:
  struct Events {
    // All KV is in the reservation's pages.
    std::function<void(Reservation&)> complete;
    // The transfer cannot succeed: the reservation must end.
    std::function<void(Reservation&, const absl::Status&)> failed;
    // The device failed: the worker cannot go on.
    std::function<void(const absl::Status&)> device_failed;
  };
  // Runs a closure on the engine thread; thread-safe.
  using Post = std::function<void(std::function<void()>)>;

  SlabIntake(LeaseConfig leases, Arena& arena, ModelRunner& runner, Executor& executor,
             ReservationTable& table, HandoffSessions& sessions, DecodeMetrics& metrics, Post post,
             Events events);

  // The reservation's Open was granted.
  void Granted(Reservation& reservation, TimePoint now);
  void OnNeedCredit(uint64_t session, const TransferId& transfer, uint32_t attempt,
                    const v1::HandoffNeedCredit& message);
  void OnCommit(uint64_t session, const TransferId& transfer, uint32_t attempt,
                const v1::HandoffCommit& message);
  void OnIncoming(std::unique_ptr<IncomingSlab> slab);
  void OnRenew(uint64_t session, const std::vector<TransferId>& transfers, TimePoint now);

  // Gives up the slabs, credits and lease of a reservation that is being received; it then waits
  // for a Rebind. No effect on others.
  void EndAttempt(Reservation& reservation);
  void SessionLost(uint64_t session);
  // Ends leases that were not renewed and tells the prefill workers.
  void Tick(TimePoint now);
  // Grants credit as far as the arena reaches; after every event.
  void PumpCredits();

  // Transfers under lease on a session, for renewing the other side's.
  std::vector<TransferId> TransfersOf(uint64_t session) const;
  int scatters_in_flight() const { return static_cast<int>(scatters_.size()); }
  size_t waiting_credits() const { return credits_.waiting(); }

 private:
  // The reservation that a message of a session may act on, else null.
  Reservation* Receiving(uint64_t session, const TransferId& transfer) const;
  void CountDropped(TransferReceiver::DropReason reason);
  void OnLanded(const TransferId& transfer, const kernels::SlabHeader& header,
                const absl::Status& status);
  void StartScatter(Reservation& reservation, TransferReceiver::Scatter scatter);
  void OnScattered(uint64_t scatter, const TransferId& transfer, const kernels::SlabHeader& header,
                   const absl::StatusOr<uint64_t>& checksum);
  void TryComplete(Reservation& reservation);
  void Reply(Reservation& reservation, v1::HandoffResponse message);

  ModelRunner& runner_;
  Executor& executor_;
  ReservationTable& table_;
  HandoffSessions& sessions_;
  DecodeMetrics& metrics_;
  const Post post_;
  const Events events_;
  CreditQueue credits_;
  LeaseTable<TransferId> leases_;
  std::map<uint64_t, PageTable> scatters_;  // pages of the copies in flight
  uint64_t next_scatter_ = 1;
};

}  // namespace baton
