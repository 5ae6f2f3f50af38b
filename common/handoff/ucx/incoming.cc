#include "common/handoff/ucx/incoming.h"

#include <netinet/in.h>

#include <algorithm>
#include <utility>

#include "common/base/status.h"
#include "common/handoff/ucx/ucx_status.h"
#include "common/handoff/ucx/wire.h"

namespace baton::ucx {

Incoming::Peer::~Peer() {
  for (Landing* landing : landings) delete landing;
}

absl::StatusOr<int> Incoming::Listen(const SocketAddress& address, Sink sink) {
  if (listener_ != nullptr) return FailedPrecondition("bulk listener: started before");
  ucp_listener_params_t params{};
  params.field_mask = UCP_LISTENER_PARAM_FIELD_SOCK_ADDR | UCP_LISTENER_PARAM_FIELD_CONN_HANDLER;
  params.sockaddr.addr = reinterpret_cast<const sockaddr*>(&address.storage);
  params.sockaddr.addrlen = address.length;
  params.conn_handler.arg = this;
  params.conn_handler.cb = [](ucp_conn_request_h request, void* self) {
    auto* incoming = static_cast<Incoming*>(self);
    incoming->requests_.push_back(request);
    *incoming->attention_ = true;
  };
  const std::string what = fmt::format("bulk listener on {}", address.host);
  BATON_RETURN_IF_ERROR(FromUcs(ucp_listener_create(worker_.handle(), &params, &listener_), what));
  ucp_listener_attr_t attributes{};
  attributes.field_mask = UCP_LISTENER_ATTR_FIELD_SOCKADDR;
  BATON_RETURN_IF_ERROR(FromUcs(ucp_listener_query(listener_, &attributes), what));
  sink_ = std::move(sink);
  const auto& bound = attributes.sockaddr;
  return ntohs(bound.ss_family == AF_INET6 ? reinterpret_cast<const sockaddr_in6&>(bound).sin6_port
                                           : reinterpret_cast<const sockaddr_in&>(bound).sin_port);
}

void Incoming::AcceptConnections() {
  for (ucp_conn_request_h request : std::exchange(requests_, {})) {
    if (peers_.size() + leaving_.size() >= limits_.peers) {
      ucp_listener_reject(listener_, request);
      continue;
    }
    auto endpoint = UcxEndpoint::Accept(worker_.handle(), request, attention_);
    // The peer is gone again, or out of memory: it sees a reset either way.
    if (!endpoint.ok()) continue;
    auto peer = std::make_unique<Peer>();
    peer->endpoint = *std::move(endpoint);
    peer->deadline = clock_.Now() + limits_.hello_timeout;
    const ucp_ep_h handle = peer->endpoint->handle();
    peers_[handle] = std::move(peer);
  }
}

void Incoming::OnHello(ucp_ep_h endpoint, std::string_view message) {
  const auto it = peers_.find(endpoint);
  if (it == peers_.end() || it->second->closing) return;
  Peer& peer = *it->second;
  auto hello = DecodeHello(message);
  if (!hello.ok() || peer.identity) {
    peer.violation = hello.ok() ? InvalidArgument("bulk hello: sent twice") : hello.status();
    *attention_ = true;
    return;
  }
  peer.identity = std::make_shared<const BulkPeer>(*std::move(hello));
  peer.endpoint->SendHeader(static_cast<unsigned>(MessageId::kWelcome), EncodeWelcome(true));
}

ucs_status_t Incoming::OnSlab(ucp_ep_h endpoint, std::string_view header, void* data, size_t bytes,
                              bool keepable) {
  // UCS_OK drops the payload and completes the send: the sender learns of a refusal over control.
  const auto it = peers_.find(endpoint);
  if (it == peers_.end() || it->second->closing) return UCS_OK;
  Peer& peer = *it->second;
  if (!peer.identity || header.size() != kSlabHeaderBytes || bytes == 0 ||
      bytes > limits_.payload_bytes || !keepable) {
    peer.violation = InvalidArgument(
        "slab: header of {} bytes, payload of {}, {} hello; expected {}, 1 to {}, after",
        header.size(), bytes, peer.identity ? "after" : "before", kSlabHeaderBytes,
        limits_.payload_bytes);
    *attention_ = true;
    return UCS_OK;
  }
  if (peer.announced.size() >= limits_.announced_per_peer) return UCS_OK;
  Announcement announcement{next_id_++, peer.identity, {}, bytes};
  std::copy_n(reinterpret_cast<const std::byte*>(header.data()), kSlabHeaderBytes,
              announcement.header.begin());
  peer.announced[announcement.id] = data;
  owners_[announcement.id] = &peer;
  sizes_[announcement.id] = bytes;
  sink_(std::move(announcement));
  return UCS_INPROGRESS;
}

void Incoming::Accept(uint64_t id, std::span<std::byte> landing,
                      std::function<void(absl::Status)> done) {
  const auto owner = owners_.find(id);
  if (owner == owners_.end()) return done(Unavailable("slab: its sender was lost"));
  if (const size_t bytes = sizes_[id]; landing.size() != bytes) {
    Refuse(id);
    return done(InvalidArgument("landing span: {} bytes, expected {}", landing.size(), bytes));
  }
  Peer& peer = *owner->second;
  void* data = peer.announced[id];
  owners_.erase(owner);
  sizes_.erase(id);
  peer.announced.erase(id);
  StartLanding(peer, data, landing, std::move(done));
}

void Incoming::StartLanding(Peer& peer, void* data, std::span<std::byte> span,
                            std::function<void(absl::Status)> done) {
  const auto memory = worker_.Find(span.data(), span.size());
  if (!memory.ok()) {
    ucp_am_data_release(worker_.handle(), data);
    return done(memory.status());
  }
  auto* landing = new Landing{span, std::move(done), &peer};
  peer.landings.insert(landing);
  ucp_request_param_t param{};
  param.op_attr_mask = UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA |
                       UCP_OP_ATTR_FIELD_MEMH | UCP_OP_ATTR_FIELD_MEMORY_TYPE |
                       UCP_OP_ATTR_FIELD_RECV_INFO;
  param.memh = memory->handle;
  param.memory_type = memory->type;
  param.user_data = landing;
  param.recv_info.length = &landing->landed;
  param.cb.recv_am = [](void* request, ucs_status_t status, size_t bytes, void* landing) {
    ucp_request_free(request);
    Complete(static_cast<Landing*>(landing), status, bytes);
  };
  const ucs_status_ptr_t request =
      ucp_am_recv_data_nbx(worker_.handle(), data, span.data(), span.size(), &param);
  if (!UCS_PTR_IS_PTR(request)) Complete(landing, UCS_PTR_STATUS(request), landing->landed);
}

void Incoming::Complete(Landing* landing, ucs_status_t status, size_t bytes) {
  std::unique_ptr<Landing> owned(landing);
  Peer& peer = *owned->peer;
  peer.landings.erase(landing);
  if (status == UCS_OK && bytes != owned->span.size()) {
    return owned->done(DataLoss("slab from {}: {} bytes landed, expected {}", peer.Name(), bytes,
                                owned->span.size()));
  }
  // We cancel no landing ourselves: UCX does when the connection fails, sometimes before it says
  // so.
  if (status == UCS_ERR_CANCELED || (status != UCS_OK && peer.closing)) {
    return owned->done(Unavailable("slab from {}: the sender was lost", peer.Name()));
  }
  owned->done(FromUcs(status, fmt::format("slab from {}", peer.Name())));
}

void Incoming::Refuse(uint64_t id) {
  const auto owner = owners_.find(id);
  if (owner == owners_.end()) return;
  auto announced = owner->second->announced.extract(id);
  owners_.erase(owner);
  sizes_.erase(id);
  ucp_am_data_release(worker_.handle(), announced.mapped());
}

void Incoming::BeginClose(Peer& peer) {
  if (std::exchange(peer.closing, true)) return;
  while (!peer.announced.empty()) Refuse(peer.announced.begin()->first);
  peer.endpoint->StartClose();
}

// True when the peer is closed.
bool Incoming::TendPeer(Peer& peer, TimePoint now) {
  const bool late = !peer.identity && now >= peer.deadline;
  if (peer.endpoint->error() != UCS_OK || !peer.violation.ok() || late) BeginClose(peer);
  return peer.endpoint->closed();
}

void Incoming::Tend() {
  AcceptConnections();
  const TimePoint now = clock_.Now();
  for (auto it = peers_.begin(); it != peers_.end();) {
    if (TendPeer(*it->second, now)) {
      // UCX may reuse the handle for a new connection.
      leaving_.push_back(std::move(it->second));
      it = peers_.erase(it);
    } else {
      ++it;
    }
  }
  std::erase_if(leaving_, [](const auto& peer) { return peer->landings.empty(); });
}

bool Incoming::waits_for_hello() const {
  return std::any_of(peers_.begin(), peers_.end(),
                     [](const auto& entry) { return !entry.second->identity; });
}

void Incoming::CloseAll() {
  for (ucp_conn_request_h request : std::exchange(requests_, {})) {
    ucp_listener_reject(listener_, request);
  }
  if (listener_ != nullptr) ucp_listener_destroy(std::exchange(listener_, nullptr));
  for (auto& [handle, peer] : peers_) BeginClose(*peer);
}

void Incoming::SettleAll() {
  for (auto& [handle, peer] : std::exchange(peers_, {})) leaving_.push_back(std::move(peer));
  for (auto& peer : std::exchange(leaving_, {})) {
    for (Landing* landing : peer->landings) {
      landing->done(Cancelled("slab from {}: the transport was closed", peer->Name()));
    }
  }
}

void Incoming::Describe(std::vector<std::string>& lines) const {
  for (const auto& [handle, peer] : peers_) {
    const bool heard = peer->identity != nullptr;
    lines.push_back(
        fmt::format("from {}: {}", peer->Name(), heard ? peer->endpoint->Transports() : "none"));
  }
}

}  // namespace baton::ucx
