#include "tests/net_cluster/observe.h"

#include <arpa/inet.h>
#include <grpcpp/client_context.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/byte_buffer.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include <array>
#include <cmath>
#include <future>
#include <sstream>
#include <utility>

#include "common/rpc/channel.h"

namespace baton {

int CheckHealth(const std::string& endpoint, std::string_view service) {
  // Both messages have one field, number 1: the service's name; the status.
  std::string request;
  if (!service.empty()) {
    request.append(1, '\x0a').append(1, static_cast<char>(service.size())).append(service);
  }
  grpc::Slice slice(request);
  grpc::ByteBuffer input(&slice, 1), output;
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
  std::promise<grpc::Status> done;
  grpc::GenericStub stub(rpc::MakeChannel(endpoint, {}));
  stub.UnaryCall(&context, "/grpc.health.v1.Health/Check", {}, &input, &output,
                 [&](grpc::Status status) { done.set_value(std::move(status)); });
  const grpc::Status status = done.get_future().get();
  if (!status.ok()) return -static_cast<int>(status.error_code());
  grpc::Slice answer;
  if (!output.TrySingleSlice(&answer).ok() || answer.size() != 2) return 0;
  return answer.begin()[1];
}

std::string Scrape(int port) {
  const int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
  const timeval patience{.tv_sec = 30, .tv_usec = 0};
  setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  sockaddr_in address{};
  address.sin_family = AF_INET;
  address.sin_port = htons(static_cast<uint16_t>(port));
  address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  std::string answer;
  if (connect(fd, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) == 0) {
    constexpr std::string_view kRequest = "GET /metrics HTTP/1.0\r\n\r\n";
    if (send(fd, kRequest.data(), kRequest.size(), MSG_NOSIGNAL) > 0) {
      std::array<char, 4096> buffer;
      for (ssize_t n = 0; (n = recv(fd, buffer.data(), buffer.size(), 0)) > 0;) {
        answer.append(buffer.data(), static_cast<size_t>(n));
      }
    }
  }
  close(fd);
  const size_t body = answer.find("\r\n\r\n");
  return body == std::string::npos ? "" : answer.substr(body + 4);
}

double ValueOf(const std::string& body, const std::string& metric, std::string_view labels) {
  double sum = 0;
  bool found = false;
  std::istringstream lines(body);
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(metric) || line[metric.size()] != '{') continue;
    if (line.find(labels) == std::string::npos) continue;
    sum += std::stod(line.substr(line.rfind(' ')));
    found = true;
  }
  return found ? sum : std::nan("");
}

}  // namespace baton
