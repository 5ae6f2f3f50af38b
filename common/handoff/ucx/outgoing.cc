#include "common/handoff/ucx/outgoing.h"

#include <utility>

#include "common/base/status.h"
#include "common/handoff/ucx/ucx_status.h"
#include "common/handoff/ucx/wire.h"

namespace baton::ucx {

Outgoing::Link::~Link() {
  for (SendOperation* operation : in_flight) delete operation;
}

void Outgoing::Connect(uint64_t id, std::string name, const SocketAddress& address,
                       std::string hello, Completion on_lost) {
  auto link = std::make_unique<Link>();
  link->name = std::move(name);
  link->on_lost = std::move(on_lost);
  link->deadline = clock_.Now() + connect_timeout_;
  auto endpoint = UcxEndpoint::Connect(worker_.handle(), address, attention_);
  if (!endpoint.ok()) {
    if (link->on_lost) link->on_lost(endpoint.status());
    return;
  }
  link->endpoint = *std::move(endpoint);
  link->endpoint->SendHeader(static_cast<unsigned>(MessageId::kHello), std::move(hello));
  links_[id] = std::move(link);
}

void Outgoing::Send(uint64_t id, const SlabHeaderBytes& header, std::span<const std::byte> payload,
                    Completion done) {
  const auto it = links_.find(id);
  if (it == links_.end()) return done(Unavailable("bulk connection: it was lost or closed"));
  Link& link = *it->second;
  if (link.state == State::kClosing) return done(link.reason);
  auto operation =
      std::make_unique<SendOperation>(SendOperation{header, payload, std::move(done), &link});
  if (link.state == State::kConnecting) {
    link.waiting.push_back(std::move(operation));
  } else {
    Start(link, std::move(operation));
  }
}

void Outgoing::Start(Link& link, std::unique_ptr<SendOperation> owned) {
  const auto memory = worker_.Find(owned->payload.data(), owned->payload.size());
  if (!memory.ok()) return owned->done(memory.status());
  SendOperation* operation = owned.release();
  link.in_flight.insert(operation);
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_FLAGS | UCP_OP_ATTR_FIELD_CALLBACK |
                       UCP_OP_ATTR_FIELD_USER_DATA | UCP_OP_ATTR_FIELD_MEMH |
                       UCP_OP_ATTR_FIELD_MEMORY_TYPE;
  // Always rendezvous: no byte of a payload leaves before the receiver said where it lands.
  param.flags = UCP_AM_SEND_FLAG_RNDV | UCP_AM_SEND_FLAG_REPLY;
  param.memh = memory->handle;
  param.memory_type = memory->type;
  param.user_data = operation;
  param.cb.send = [](void* request, ucs_status_t status, void* operation) {
    ucp_request_free(request);
    Complete(static_cast<SendOperation*>(operation), status);
  };
  const ucs_status_ptr_t request = ucp_am_send_nbx(
      link.endpoint->handle(), static_cast<unsigned>(MessageId::kSlab), operation->header.data(),
      operation->header.size(), operation->payload.data(), operation->payload.size(), &param);
  if (!UCS_PTR_IS_PTR(request)) Complete(operation, UCS_PTR_STATUS(request));
}

void Outgoing::Complete(SendOperation* operation, ucs_status_t status) {
  std::unique_ptr<SendOperation> owned(operation);
  Link& link = *owned->link;
  link.in_flight.erase(operation);
  if (!owned->done) return;
  // An operation that the end of its connection swept away ends for the reason of that end.
  if (status != UCS_OK && !link.reason.ok()) return owned->done(link.reason);
  owned->done(FromUcs(status, fmt::format("bulk send to {}", link.name)));
}

void Outgoing::Disconnect(uint64_t id) {
  const auto it = links_.find(id);
  if (it == links_.end()) return;
  BeginClose(*it->second, Cancelled("bulk connection to {}: closed", it->second->name), false);
}

void Outgoing::DisconnectAll() {
  for (auto& [id, link] : links_) {
    BeginClose(*link, Cancelled("bulk connection to {}: closed", link->name), false);
  }
}

void Outgoing::BeginClose(Link& link, absl::Status reason, bool tell) {
  if (link.state == State::kClosing) {
    if (!tell) link.on_lost = nullptr;
    return;
  }
  link.state = State::kClosing;
  link.reason = std::move(reason);
  for (auto& operation : std::exchange(link.waiting, {})) operation->done(link.reason);
  link.endpoint->StartClose();
  const Completion on_lost = std::exchange(link.on_lost, nullptr);
  if (tell && on_lost) on_lost(link.reason);
}

void Outgoing::OnWelcome(ucp_ep_h endpoint, std::string_view message) {
  for (auto& [id, link] : links_) {
    if (link->endpoint->handle() != endpoint || link->state != State::kConnecting) continue;
    const auto accepted = DecodeWelcome(message);
    if (!accepted.ok() || !*accepted) {
      BeginClose(*link,
                 accepted.ok() ? FailedPrecondition("{}: refused the bulk connection", link->name)
                               : accepted.status(),
                 true);
      return;
    }
    link->state = State::kReady;
    for (auto& operation : std::exchange(link->waiting, {})) Start(*link, std::move(operation));
    return;
  }
}

void Outgoing::Tend() {
  const TimePoint now = clock_.Now();
  for (auto it = links_.begin(); it != links_.end();) {
    Link& link = *it->second;
    if (const ucs_status_t error = link.endpoint->error(); error != UCS_OK) {
      const absl::Status status = FromUcs(error, fmt::format("bulk connection to {}", link.name));
      BeginClose(link, Unavailable("{}", MessageOf(status)), true);
    } else if (link.state == State::kConnecting && now >= link.deadline) {
      BeginClose(link, Unavailable("bulk connection to {}: no answer", link.name), true);
    }
    if (!link.endpoint->closed()) {
      ++it;
      continue;
    }
    // The sends are over for their owners now; UCX may still hold on to its requests.
    for (SendOperation* operation : link.in_flight) {
      if (const Completion done = std::exchange(operation->done, nullptr)) done(link.reason);
    }
    it = link.in_flight.empty() ? links_.erase(it) : std::next(it);
  }
}

bool Outgoing::all_closed() const {
  for (const auto& [id, link] : links_) {
    if (!link->endpoint->closed()) return false;
  }
  return true;
}

bool Outgoing::connecting() const {
  for (const auto& [id, link] : links_) {
    if (link->state == State::kConnecting) return true;
  }
  return false;
}

void Outgoing::SettleAll() {
  for (auto& [id, link] : links_) {
    for (SendOperation* operation : link->in_flight) {
      if (const Completion done = std::exchange(operation->done, nullptr)) done(link->reason);
    }
  }
  links_.clear();
}

void Outgoing::Describe(std::vector<std::string>& lines) const {
  for (const auto& [id, link] : links_) {
    const bool heard = link->state == State::kReady;
    lines.push_back(
        fmt::format("to {}: {}", link->name, heard ? link->endpoint->Transports() : "none"));
  }
}

}  // namespace baton::ucx
