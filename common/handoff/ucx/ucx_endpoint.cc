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

// Adds the names in front of each '/': "50% on tcp/lo and 50% on tcp/eth0" → tcp.
void AddFabrics(std::string_view text, std::vector<std::string>& names) {
  for (size_t slash = 0; (slash = text.find('/', slash)) != std::string_view::npos; ++slash) {
    const size_t before = text.find_last_of(" :", slash);
    const size_t begin = before == std::string_view::npos ? 0 : before + 1;
    std::string name(text.substr(begin, slash - begin));
    if (std::find(names.begin(), names.end(), name) == names.end()) names.push_back(name);
  }
}

std::vector<std::string_view> Split(std::string_view text, char separator) {
  std::vector<std::string_view> parts;
  for (size_t end; (end = text.find(separator)) != std::string_view::npos;) {
    parts.push_back(text.substr(0, end));
    text.remove_prefix(end + 1);
  }
  parts.push_back(text);
  return parts;
}

}  // namespace

// The table is printed by newer versions once slabs were sent:
//   lane[1]:  3:sysv/memory.0 md[2] -> md[2]/sysv/sysdev[255] am keepalive
//   | active message by ucp_am_send* with reply flag(rndv) from host memory |
//   | 1..inf | rendezvous fragmented copy-in copy-out | sysv/memory |
std::string FabricsIn(std::string_view info) {
  std::vector<std::string> chosen, lanes;
  bool rendezvous_table = false;
  for (std::string_view line : Split(info, '\n')) {
    const std::vector<std::string_view> columns = Split(line, '|');
    if (columns.size() == 3) {
      rendezvous_table = columns[1].find("(rndv)") != std::string_view::npos;
    } else if (columns.size() == 5 && rendezvous_table) {
      AddFabrics(columns[3], chosen);
    }
    const size_t arrow = line.find(" -> ");
    if (line.find("lane[") != std::string_view::npos && arrow != std::string_view::npos &&
        (line.find(" am ", arrow) != std::string_view::npos || line.ends_with(" am"))) {
      AddFabrics(line.substr(0, arrow), lanes);
    }
  }
  const std::vector<std::string>& names = chosen.empty() ? lanes : chosen;
  return names.empty() ? "none" : fmt::format("{}", fmt::join(names, "+"));
}

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
  if (closing_ || error_ != UCS_OK) return "none";
  char* text = nullptr;
  size_t bytes = 0;
  FILE* stream = open_memstream(&text, &bytes);
  if (stream == nullptr) return "unknown";
  ucp_ep_print_info(handle_, stream);
  std::fclose(stream);
  std::string fabrics = FabricsIn({text, bytes});
  std::free(text);
  return fabrics;
}

}  // namespace baton::ucx
