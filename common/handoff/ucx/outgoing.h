#pragma once

#include <cstdint>
#include <deque>
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

using Completion = std::function<void(absl::Status)>;

// The connections that this process opened, and its sends. Belongs to the transport thread.
//
//   connecting ──Welcome──► ready
//        └────────┬───────────┘
//   error, refusal, time-out, Disconnect
//                 ▼
//              closing ──UCX has let go, nothing in flight──► gone
class Outgoing {
 public:
  Outgoing(UcxWorker& worker, Clock& clock, Duration connect_timeout, bool* attention)
      : worker_(worker), clock_(clock), connect_timeout_(connect_timeout), attention_(attention) {}

  void Connect(uint64_t id, std::string name, const SocketAddress& address, std::string hello,
               Completion on_lost);
  void Send(uint64_t id, const SlabHeaderBytes& header, std::span<const std::byte> payload,
            Completion done);
  void Disconnect(uint64_t id);
  void OnWelcome(ucp_ep_h endpoint, std::string_view message);

  // Looks at marks and deadlines; to be called when attention was set and now and then.
  void Tend();
  void DisconnectAll();
  // UCX has let go of every connection, though maybe not of every send.
  bool all_closed() const;
  bool connecting() const;  // a deadline is running
  // After the worker is gone: settles what UCX never completed.
  void SettleAll();

  void Describe(std::vector<std::string>& lines) const;

 private:
  struct Link;
  struct SendOperation {
    SlabHeaderBytes header;  // must outlive the operation
    std::span<const std::byte> payload;
    Completion done;  // empty once settled
    Link* link;
  };
  enum class State { kConnecting, kReady, kClosing };
  struct Link {
    std::string name;
    std::unique_ptr<UcxEndpoint> endpoint;
    State state = State::kConnecting;
    TimePoint deadline;                      // of the handshake
    absl::Status reason = absl::OkStatus();  // set when closing
    Completion on_lost;
    std::deque<std::unique_ptr<SendOperation>> waiting;  // for Welcome
    std::unordered_set<SendOperation*> in_flight;        // owned
    ~Link();
  };

  void Start(Link& link, std::unique_ptr<SendOperation> operation);
  static void Complete(SendOperation* operation, ucs_status_t status);
  void BeginClose(Link& link, absl::Status reason, bool tell);

  UcxWorker& worker_;
  Clock& clock_;
  const Duration connect_timeout_;
  bool* const attention_;
  std::map<uint64_t, std::unique_ptr<Link>> links_;
};

}  // namespace baton::ucx
