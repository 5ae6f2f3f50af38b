#include "common/handoff/ucx/ucx_endpoint.h"

#include <netdb.h>
#include <sys/types.h>

#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <string_view>
#include <utility>
#include <vector>

#include "common/base/status.h"
#include "common/handoff/ucx/ucx_status.h"

namespace baton::ucx {
namespace {

// Lines of ucp_ep_print_info look like "lane[0]:  2:posix/memory.0 md[2] ...". The text is the one
// interface for this that both old and new versions have.
std::string ParseLanes(std::string_view text) {
  std::vector<std::string_view> names;
  for (size_t at = 0; (at = text.find("lane[", at)) != std::string_view::npos;) {
    std::string_view line = text.substr(at, text.find('\n', at) - at);
    at += line.size();
    const size_t slash = line.find('/');
    if (slash == std::string_view::npos) continue;
    const size_t colon = line.rfind(':', slash);
    if (colon == std::string_view::npos) continue;
    const std::string_view name = line.substr(colon + 1, slash - colon - 1);
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, "+"));
}

}  // namespace

absl::StatusOr<SocketAddress> SocketAddress::Resolve(const std::string& endpoint) {
  const size_t colon = endpoint.rfind(':');
  if (colon == std::string::npos || colon == 0 || colon + 1 == endpoint.size()) {
    return InvalidArgument("bulk endpoint: '{}', expected host:port", endpoint);
  }
  SocketAddress result;
  result.host = endpoint.substr(0, colon);
  std::string name = result.host;
  if (name.size() > 2 && name.front() == '[' && name.back() == ']') {
    name = name.substr(1, name.size() - 2);
  }
  addrinfo hints{};
  hints.ai_socktype = SOCK_STREAM;
  hints.ai_flags = AI_NUMERICSERV;
  addrinfo* found = nullptr;
  const int error = getaddrinfo(name.c_str(), endpoint.c_str() + colon + 1, &hints, &found);
  if (error == EAI_SERVICE || error == EAI_NONAME) {
    // Both codes are used for a port that is no number.
    return InvalidArgument("bulk endpoint: '{}': {}", endpoint, gai_strerror(error));
  }
  if (error != 0) return Unavailable("bulk endpoint: '{}': {}", endpoint, gai_strerror(error));
  std::copy_n(reinterpret_cast<const char*>(found->ai_addr), found->ai_addrlen,
              reinterpret_cast<char*>(&result.storage));
  result.length = found->ai_addrlen;
  freeaddrinfo(found);
  return result;
}

absl::StatusOr<std::unique_ptr<UcxEndpoint>> UcxEndpoint::Connect(ucp_worker_h worker,
                                                                  const SocketAddress& address,
                                                                  bool* attention) {
  ucp_ep_params_t params{};
  params.field_mask = UCP_EP_PARAM_FIELD_FLAGS | UCP_EP_PARAM_FIELD_SOCK_ADDR;
  params.flags = UCP_EP_PARAMS_FLAGS_CLIENT_SERVER;
  params.sockaddr.addr = reinterpret_cast<const sockaddr*>(&address.storage);
  params.sockaddr.addrlen = address.length;
  return Create(worker, params, attention);
}

absl::StatusOr<std::unique_ptr<UcxEndpoint>> UcxEndpoint::Accept(ucp_worker_h worker,
                                                                 ucp_conn_request_h request,
                                                                 bool* attention) {
  ucp_ep_params_t params{};
  params.field_mask = UCP_EP_PARAM_FIELD_CONN_REQUEST;
  params.conn_request = request;
  return Create(worker, params, attention);
}

absl::StatusOr<std::unique_ptr<UcxEndpoint>> UcxEndpoint::Create(ucp_worker_h worker,
                                                                 ucp_ep_params_t params,
                                                                 bool* attention) {
  std::unique_ptr<UcxEndpoint> endpoint(new UcxEndpoint(attention));
  params.field_mask |= UCP_EP_PARAM_FIELD_ERR_HANDLING_MODE | UCP_EP_PARAM_FIELD_ERR_HANDLER;
  params.err_mode = UCP_ERR_HANDLING_MODE_PEER;
  params.err_handler.arg = endpoint.get();
  params.err_handler.cb = [](void* self, ucp_ep_h, ucs_status_t status) {
    auto* endpoint = static_cast<UcxEndpoint*>(self);
    endpoint->error_ = status;
    *endpoint->attention_ = true;
  };
  BATON_RETURN_IF_ERROR(
      FromUcs(ucp_ep_create(worker, &params, &endpoint->handle_), "ucx: ucp_ep_create"));
  return endpoint;
}

void UcxEndpoint::StartClose() {
  if (std::exchange(closing_, true)) return;
  *attention_ = true;
  ucp_request_param_t param{};
  param.op_attr_mask =
      UCP_OP_ATTR_FIELD_FLAGS | UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  param.flags = UCP_EP_CLOSE_FLAG_FORCE;
  param.user_data = this;
  param.cb.send = [](void* request, ucs_status_t, void* self) {
    auto* endpoint = static_cast<UcxEndpoint*>(self);
    endpoint->closed_ = true;
    *endpoint->attention_ = true;
    ucp_request_free(request);
  };
  const ucs_status_ptr_t request = ucp_ep_close_nbx(handle_, &param);
  // Anything but a pending request means that UCX has no more to do with it.
  if (!UCS_PTR_IS_PTR(request)) closed_ = true;
}

void UcxEndpoint::SendHeader(unsigned message_id, std::string header) {
  auto* kept = new std::string(std::move(header));
  ucp_request_param_t param{};
  param.op_attr_mask =
      UCP_OP_ATTR_FIELD_FLAGS | UCP_OP_ATTR_FIELD_CALLBACK | UCP_OP_ATTR_FIELD_USER_DATA;
  param.flags = UCP_AM_SEND_FLAG_REPLY;
  param.user_data = kept;
  param.cb.send = [](void* request, ucs_status_t, void* kept) {
    delete static_cast<std::string*>(kept);
    ucp_request_free(request);
  };
  const ucs_status_ptr_t request =
      ucp_am_send_nbx(handle_, message_id, kept->data(), kept->size(), nullptr, 0, &param);
  if (UCS_PTR_IS_PTR(request)) return;
  delete kept;
  if (UCS_PTR_IS_ERR(request)) {
    error_ = UCS_PTR_STATUS(request);
    *attention_ = true;
  }
}

std::string UcxEndpoint::Transports() const {
  if (closing_) return "none";
  char* text = nullptr;
  size_t bytes = 0;
  FILE* stream = open_memstream(&text, &bytes);
  if (stream == nullptr) return "unknown";
  ucp_ep_print_info(handle_, stream);
  std::fclose(stream);
  std::string lanes = ParseLanes({text, bytes});
  std::free(text);
  return lanes;
}

}  // namespace baton::ucx
