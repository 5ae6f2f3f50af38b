#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "baton/v1/handoff.pb.h"
#include "common/base/clock.h"
#include "common/handoff/parked_opens.h"
#include "common/handoff/tombstones.h"
#include "decode_node/handoff_sessions.h"
#include "decode_node/reservation.h"

namespace baton {

// Decides what becomes of an Open: granted, refused, or parked until the Start, Rebind or pages
// that it waits for. Remembers ended transfers for a while, so that late Opens are answered at
// once. Engine thread only.
class OpenDesk {
 public:
  struct Config {
    v1::KvContract contract;  // of this worker
    size_t max_parked = 1024;
    size_t max_open_bytes = 4096;
    Duration open_wait = std::chrono::seconds(3);  // for an unknown Start or Rebind
    Tombstones::Config tombstones;
  };
  // Makes the reservation's pages ready to receive KV of a producer; returns the first token
  // position that must come over the wire.
  using BindPages = std::function<uint32_t(Reservation&, const v1::KvProducer&)>;
  // The reservation was granted to its session.
  using Granted = std::function<void(Reservation&)>;

  OpenDesk(Config config, ReservationTable& table, HandoffSessions& sessions, BindPages bind_pages,
           Granted granted);

  void OnOpen(uint64_t session, const TransferId& transfer, uint32_t attempt,
              const v1::HandoffOpen& open, TimePoint now);
  // An Abort came: the parked Open it belongs to goes.
  void OnAbort(uint64_t session, const TransferId& transfer, uint32_t attempt);
  void SessionLost(uint64_t session);
  // After a Start, a Rebind, or when the reservation got its pages: looks at parked Opens again.
  void Retry(const TransferId& transfer, TimePoint now);
  // The transfer was refused or has ended: answers its parked Opens and later ones.
  void Bury(const TransferId& transfer, Tombstone tombstone, TimePoint now);
  // A Start or Rebind of this attempt is older than the end of its transfer.
  bool IsBuried(const TransferId& transfer, uint32_t attempt) const;
  void Exhume(const TransferId& transfer) { tombstones_.Remove(transfer); }
  void Tick(TimePoint now);

  const ParkedOpens& parked() const { return parked_; }

 private:
  void Decide(ParkedOpen open, TimePoint now);
  void DecideExpected(Reservation& reservation, const ParkedOpen& open, TimePoint now);
  void Park(ParkedOpen open);
  void Refuse(const ParkedOpen& open, v1::RefuseCode code,
              const std::vector<v1::Mismatch>& mismatches = {});
  bool WaitsForPages(const ParkedOpen& open) const;

  const Config config_;
  ReservationTable& table_;
  HandoffSessions& sessions_;
  const BindPages bind_pages_;
  const Granted granted_;
  ParkedOpens parked_;
  Tombstones tombstones_;
};

}  // namespace baton
