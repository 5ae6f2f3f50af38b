#pragma once

#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "common/handoff/bulk_transport.h"
#include "common/stream/in_process.h"

namespace baton {

namespace local_transport_internal {
struct Channel;
struct Listener;
}  // namespace local_transport_internal

// Where the LocalTransports of one process find each other. Endpoints are plain names. `lanes`
// decides when announcements and payloads move: at once, or when a test delivers them (one lane per
// connection for announcements, one per slab for its payload). Both outlive the transports.
class LocalFabric {
 public:
  explicit LocalFabric(InProcessLanes& lanes) : lanes_(lanes) {}

 private:
  friend class LocalTransport;

  InProcessLanes& lanes_;
  std::mutex mutex_;
  // Guarded by mutex_.
  std::map<std::string, std::shared_ptr<local_transport_internal::Listener>> listeners_;
};

// BulkTransport within one process: a payload lands by memcpy. Callbacks run on the thread that
// delivers (see InProcessLanes).
class LocalTransport : public BulkTransport {
 public:
  explicit LocalTransport(LocalFabric& fabric) : fabric_(fabric) {}
  ~LocalTransport() override { Close(); }

  absl::Status RegisterArena(std::span<std::byte> arena) override;
  absl::StatusOr<std::string> Listen(
      const std::string& endpoint,
      std::function<void(std::unique_ptr<IncomingSlab>)> sink) override;
  absl::StatusOr<std::unique_ptr<BulkConnection>> Connect(
      const std::string& endpoint, const BulkPeer& self,
      std::function<void(absl::Status)> on_lost) override;
  std::string Describe() const override { return "local: memcpy"; }
  void Close() override;

 private:
  LocalFabric& fabric_;
  std::mutex mutex_;
  std::string listening_;                                                   // guarded by mutex_
  std::shared_ptr<local_transport_internal::Listener> listener_;            // guarded by mutex_
  std::vector<std::weak_ptr<local_transport_internal::Channel>> channels_;  // guarded by mutex_
};

}  // namespace baton
