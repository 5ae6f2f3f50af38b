#pragma once

#include <sys/socket.h>
#include <ucp/api/ucp.h>

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace baton::ucx {

// A resolved socket address.
struct SocketAddress {
  sockaddr_storage storage{};
  socklen_t length = 0;
  std::string host;  // as it was given

  // "host:port" or "[v6]:port". May ask the system's resolver. INVALID_ARGUMENT when malformed,
  // UNAVAILABLE when the name is not known.
  static absl::StatusOr<SocketAddress> Resolve(const std::string& endpoint);
};

// The fabrics named in the text of ucp_ep_print_info, the one interface for this that old and new
// versions have: those that carry slabs where the text says so, else those that carry messages;
// "sysv", "tcp", "cma+posix", or "none".
std::string FabricsIn(std::string_view info);

// One connection of UCX. Belongs to the transport thread; must be closed() before it is destroyed,
// unless the worker was destroyed first. UCX's callbacks only leave marks and set `*attention`: the
// owner looks at the endpoint after progress.
class UcxEndpoint {
 public:
  static absl::StatusOr<std::unique_ptr<UcxEndpoint>> Connect(ucp_worker_h worker,
                                                              const SocketAddress& address,
                                                              bool* attention);
  static absl::StatusOr<std::unique_ptr<UcxEndpoint>> Accept(ucp_worker_h worker,
                                                             ucp_conn_request_h request,
                                                             bool* attention);

  ucp_ep_h handle() const { return handle_; }
  // UCS_OK while the connection lives.
  ucs_status_t error() const { return error_; }
  // By force: operations in flight end with an error, the peer sees a reset. Idempotent.
  void StartClose();
  bool closed() const { return closed_; }

  // Sends a message that is all header; it is copied. Errors show as error().
  void SendHeader(unsigned message_id, std::string header);

  // The fabrics in use; "none" once it failed or closes. Only of a peer that was heard: while the
  // connection is being made, ucp_ep_print_info of UCX 1.22 reads through a null pointer.
  std::string Transports() const;

 private:
  explicit UcxEndpoint(bool* attention) : attention_(attention) {}
  static absl::StatusOr<std::unique_ptr<UcxEndpoint>> Create(ucp_worker_h worker,
                                                             ucp_ep_params_t params,
                                                             bool* attention);

  bool* const attention_;
  ucp_ep_h handle_ = nullptr;
  ucs_status_t error_ = UCS_OK;
  bool closing_ = false;
  bool closed_ = false;
};

}  // namespace baton::ucx
