#include "common/handoff/link.h"

#include <utility>

#include "common/base/status.h"

namespace baton {

HandoffLinks::HandoffLinks(v1::WorkerIdentity self, Opener opener, BulkTransport& transport,
                           Mailbox& mailbox, Events events)
    : self_(std::move(self)),
      opener_(std::move(opener)),
      transport_(transport),
      mailbox_(mailbox),
      events_(std::move(events)) {}

absl::StatusOr<HandoffLinks::LinkId> HandoffLinks::Connect(const DecodeAddress& peer) {
  for (const auto& [id, link] : links_) {
    if (link.peer == peer) return id;
  }
  const LinkId id = next_id_++;
  Link link{peer};
  BATON_ASSIGN_OR_RETURN(
      link.bulk, transport_.Connect(peer.kv_endpoint,
                                    {WorkerId(self_.worker_id()), Incarnation(self_.incarnation())},
                                    [this, id](absl::Status status) {
                                      mailbox_.Post([this, id, status] { Lose(id, status); });
                                    }));
  // The stream lives as long as both workers: it has no deadline of its own.
  link.stream = opener_(
      peer.rpc_endpoint, TimePoint::max(), [this, id](StreamEvent<v1::HandoffResponse> event) {
        mailbox_.Post([this, id, event = std::move(event)] { OnEvent(id, event); });
      });
  if (link.stream == nullptr) {
    return InvalidArgument("rpc_endpoint: '{}', expected host:port", peer.rpc_endpoint);
  }
  v1::HandoffRequest message;
  v1::HandoffHello* hello = message.mutable_hello();
  *hello->mutable_prefill() = self_;
  hello->mutable_decode()->set_worker_id(peer.worker.value());
  hello->mutable_decode()->set_incarnation(peer.incarnation.value());
  links_.emplace(id, std::move(link));
  Send(id, std::move(message));
  return id;
}

void HandoffLinks::Send(LinkId link, v1::HandoffRequest message) {
  const auto found = links_.find(link);
  if (found == links_.end()) return;
  // A stream that cannot send any more reports its end through the sink.
  (void)found->second.stream->Send(std::move(message));
}

std::shared_ptr<BulkConnection> HandoffLinks::bulk(LinkId link) const {
  const auto found = links_.find(link);
  return found == links_.end() ? nullptr : found->second.bulk;
}

void HandoffLinks::OnEvent(LinkId link, const StreamEvent<v1::HandoffResponse>& event) {
  if (!links_.contains(link)) return;
  if (const auto* closed = std::get_if<StreamClosed>(&event)) {
    return Lose(link, closed->status.ok() ? Unavailable("the decode worker ended the stream")
                                          : closed->status);
  }
  const absl::Status status = OnMessage(link, std::get<v1::HandoffResponse>(event));
  if (!status.ok()) Lose(link, status);
}

absl::Status HandoffLinks::OnMessage(LinkId link, const v1::HandoffResponse& message) {
  if (message.has_accepted()) {
    const DecodeAddress& peer = links_.at(link).peer;
    const v1::WorkerIdentity& decode = message.accepted().decode();
    if (decode.worker_id() != peer.worker.value() ||
        decode.incarnation() != peer.incarnation.value()) {
      return FailedPrecondition("decode worker: '{}' incarnation {:x}, expected '{}' {:x}",
                                decode.worker_id(), decode.incarnation(), peer.worker.value(),
                                peer.incarnation.value());
    }
    return absl::OkStatus();
  }
  if (message.has_renew()) {
    std::vector<TransferId> ids;
    ids.reserve(message.renew().transfer_ids_size());
    for (const std::string& bytes : message.renew().transfer_ids()) {
      BATON_ASSIGN_OR_RETURN(ids.emplace_back(), TransferId::FromBytes(bytes));
    }
    events_.renewed(link, ids);
    return absl::OkStatus();
  }
  BATON_ASSIGN_OR_RETURN(const TransferId id, TransferId::FromBytes(message.transfer_id()));
  events_.message(link, id, message);
  return absl::OkStatus();
}

void HandoffLinks::Lose(LinkId link, const absl::Status& status) {
  if (links_.erase(link) > 0) events_.broken(link, status);
}

}  // namespace baton
