#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <unordered_set>
#include <vector>

#include "common/base/clock.h"
#include "common/handoff/bulk_transport.h"
#include "common/handoff/ucx/ucx_endpoint.h"
#include "common/handoff/ucx/ucx_worker.h"

namespace baton::ucx {

// A slab whose header came and whose payload waits at the sender.
struct Announcement {
  uint64_t id;
  std::shared_ptr<const BulkPeer> peer;
  SlabHeaderBytes header;
  size_t payload_bytes;
};

// Bounds on what peers can make this process hold.
struct IncomingLimits {
  size_t peers = 1024;
  size_t announced_per_peer = 4096;  // not yet accepted or refused
  size_t payload_bytes = size_t{256} << 20;
  Duration hello_timeout = std::chrono::seconds(10);
};

// The listener, the peers that connected to it, and what they send. Belongs to the transport
// thread.
//
//   connected ──Hello──► known
//        └───────┬─────────┘
//   error, protocol violation, no Hello in time, CloseAll
//                ▼
//             closing ──UCX has let go, nothing landing──► gone
class Incoming {
 public:
  using Sink = std::function<void(Announcement)>;

  Incoming(UcxWorker& worker, Clock& clock, const IncomingLimits& limits, bool* attention)
      : worker_(worker), clock_(clock), limits_(limits), attention_(attention) {}

  // Returns the real port.
  absl::StatusOr<int> Listen(const SocketAddress& address, Sink sink);
  void Accept(uint64_t id, std::span<std::byte> landing, std::function<void(absl::Status)> done);
  void Refuse(uint64_t id);

  // Calls of the message handlers.
  void OnHello(ucp_ep_h endpoint, std::string_view message);
  // What the handler returns to UCX: UCS_INPROGRESS keeps the data for Accept or Refuse.
  ucs_status_t OnSlab(ucp_ep_h endpoint, std::string_view header, void* data, size_t bytes,
                      bool keepable);

  // Looks at marks and deadlines; to be called when attention was set and now and then.
  void Tend();
  void CloseAll();
  // UCX has let go of every peer, though maybe not of every landing.
  bool all_closed() const { return peers_.empty(); }
  bool waits_for_hello() const;  // a deadline is running
  // After the worker is gone: settles what UCX never completed.
  void SettleAll();

  void Describe(std::vector<std::string>& lines) const;

 private:
  struct Peer;
  struct Landing {
    std::span<std::byte> span;
    std::function<void(absl::Status)> done;
    Peer* peer;
    size_t landed = 0;
  };
  struct Peer {
    std::unique_ptr<UcxEndpoint> endpoint;
    std::shared_ptr<const BulkPeer> identity;  // null before Hello
    TimePoint deadline;                        // of the Hello
    bool closing = false;
    absl::Status violation = absl::OkStatus();
    std::map<uint64_t, void*> announced;    // UCX's handle of the waiting payload, by id
    std::unordered_set<Landing*> landings;  // owned
    std::string Name() const { return identity ? identity->worker.value() : "unknown peer"; }
    ~Peer();
  };

  void AcceptConnections();
  void StartLanding(Peer& peer, void* data, std::span<std::byte> landing,
                    std::function<void(absl::Status)> done);
  static void Complete(Landing* landing, ucs_status_t status, size_t bytes);
  void BeginClose(Peer& peer);
  bool TendPeer(Peer& peer, TimePoint now);

  UcxWorker& worker_;
  Clock& clock_;
  const IncomingLimits limits_;
  bool* const attention_;
  Sink sink_;
  ucp_listener_h listener_ = nullptr;
  std::vector<ucp_conn_request_h> requests_;         // not answered yet
  std::map<ucp_ep_h, std::unique_ptr<Peer>> peers_;  // not closed
  std::vector<std::unique_ptr<Peer>> leaving_;       // closed, with landings that UCX still holds
  std::map<uint64_t, Peer*> owners_;                 // of announced slabs
  std::map<uint64_t, size_t> sizes_;                 // of announced slabs
  uint64_t next_id_ = 1;
};

}  // namespace baton::ucx
