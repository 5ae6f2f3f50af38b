#pragma once

#include <compare>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "baton/v1/handoff.pb.h"
#include "common/base/ids.h"
#include "common/base/mailbox.h"
#include "common/handoff/bulk_transport.h"
#include "common/stream/event_stream.h"

namespace baton {

// Where a decode worker takes KV.
struct DecodeAddress {
  WorkerId worker;
  Incarnation incarnation;
  std::string rpc_endpoint;  // its Handoff service
  std::string kv_endpoint;   // its bulk listener
  friend auto operator<=>(const DecodeAddress&, const DecodeAddress&) = default;
};

// The connections of a prefill worker to decode workers: per address one Handoff stream and one
// bulk connection, opened when first needed and shared by all transfers. When either half breaks,
// both go; the next Connect starts anew, as another link.
//
// Threading: owned by the engine thread; what streams and connections report comes through the
// mailbox.
class HandoffLinks {
 public:
  using LinkId = uint64_t;  // never used twice
  using Opener = StreamOpener<v1::HandoffRequest, v1::HandoffResponse>;
  struct Events {
    // An answer that belongs to a transfer; its transfer id is well-formed.
    std::function<void(LinkId, TransferId, const v1::HandoffResponse&)> message;
    // The peer keeps these transfers' pages reserved.
    std::function<void(LinkId, const std::vector<TransferId>&)> renewed;
    // The link is gone. Not called for a Break by this side.
    std::function<void(LinkId, const absl::Status&)> broken;
  };

  // The collaborators outlive the links.
  HandoffLinks(v1::WorkerIdentity self, Opener opener, BulkTransport& transport, Mailbox& mailbox,
               Events events);

  // The link to `peer`, new or shared. INVALID_ARGUMENT for malformed endpoints; a peer that cannot
  // be reached shows as `broken`.
  absl::StatusOr<LinkId> Connect(const DecodeAddress& peer);

  // No effect on a link that is gone.
  void Send(LinkId link, v1::HandoffRequest message);
  // Null when the link is gone.
  std::shared_ptr<BulkConnection> bulk(LinkId link) const;
  void Clear() { links_.clear(); }
  size_t size() const { return links_.size(); }

 private:
  struct Link {
    DecodeAddress peer;
    std::unique_ptr<EventStream<v1::HandoffRequest, v1::HandoffResponse>> stream;
    std::shared_ptr<BulkConnection> bulk;
  };

  void OnEvent(LinkId link, const StreamEvent<v1::HandoffResponse>& event);
  absl::Status OnMessage(LinkId link, const v1::HandoffResponse& message);
  void Lose(LinkId link, const absl::Status& status);

  const v1::WorkerIdentity self_;
  const Opener opener_;
  BulkTransport& transport_;
  Mailbox& mailbox_;
  const Events events_;
  std::map<LinkId, Link> links_;
  LinkId next_id_ = 1;
};

}  // namespace baton
