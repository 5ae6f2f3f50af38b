#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/rpc/channel.h"

namespace grpc {
class Server;
class Service;
}  // namespace grpc

namespace baton::rpc {

// The health services of every Baton server (grpc.health.v1): the whole server, is the process
// alive, does it take new work.
inline constexpr std::string_view kWholeServer = "";
inline constexpr std::string_view kLiveness = "liveness";
inline constexpr std::string_view kReadiness = "readiness";

// A gRPC server with the health service. Thread-safe. Starts alive and not ready: SetHealth
// readiness when the component can work.
class RpcServer {
 public:
  struct Config {
    std::string listen = "127.0.0.1:0";  // host:port; port 0 lets the system choose
    ConnectionConfig connection;
    bool reflection = false;  // for grpcurl and ghz; off on public ports
  };

  // Starts to serve. UNAVAILABLE when the address cannot be bound. The services are lent and must
  // outlive the server.
  static absl::StatusOr<std::unique_ptr<RpcServer>> Create(
      const Config& config, const std::vector<grpc::Service*>& services);
  ~RpcServer();  // Shutdown at once

  int port() const { return port_; }
  void SetHealth(std::string_view service, bool serving);

  // Refuses new calls, lets the open ones end until `deadline`, cancels the rest and returns when
  // none is left. Health goes to not serving first. Idempotent.
  void Shutdown(TimePoint deadline);

 private:
  RpcServer(std::unique_ptr<grpc::Server> server, int port);

  const std::unique_ptr<grpc::Server> server_;
  const int port_;
};

}  // namespace baton::rpc
