#pragma once

#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <random>
#include <span>
#include <string>

#include "common/handoff/bulk_transport.h"

namespace baton {

// Decorates a transport's sending side with seeded faults. Single-threaded, for stepped transports.
class FaultyTransport : public BulkTransport {
 public:
  // Chances per slab, tried in this order; the first that strikes is the slab's fate.
  struct Faults {
    double drop = 0;       // completes OK, never arrives
    double hold = 0;       // leaves at a later Release, in any order: delay and reordering
    double duplicate = 0;  // arrives twice
    double truncate = 0;   // arrives without its last bytes
    double corrupt_payload = 0;
    double corrupt_header = 0;
    double cut = 0;  // the connection ends instead
  };
  struct Counts {
    int drop = 0, hold = 0, duplicate = 0, truncate = 0, corrupt = 0, cut = 0;
  };

  FaultyTransport(BulkTransport& inner, Faults faults, uint64_t seed);
  ~FaultyTransport() override;

  absl::Status RegisterArena(std::span<std::byte> arena) override;
  absl::StatusOr<std::string> Listen(
      const std::string& endpoint,
      std::function<void(std::unique_ptr<IncomingSlab>)> sink) override;
  absl::StatusOr<std::unique_ptr<BulkConnection>> Connect(
      const std::string& endpoint, const BulkPeer& self,
      std::function<void(absl::Status)> on_lost) override;
  std::string Describe() const override { return "faulty over " + inner_.Describe(); }
  void Close() override;

  // From now on.
  void set_faults(Faults faults);
  // Lets one held slab go, a random one; false when none is held.
  bool Release();
  int held() const;
  const Counts& counts() const;

 private:
  struct Shared;
  class Connection;

  BulkTransport& inner_;
  const std::shared_ptr<Shared> shared_;
};

}  // namespace baton
