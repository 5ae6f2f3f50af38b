#include "common/rpc/server.h"

#include <grpcpp/ext/proto_server_reflection_plugin.h>
#include <grpcpp/health_check_service_interface.h>
#include <grpcpp/security/server_credentials.h>
#include <grpcpp/server.h>
#include <grpcpp/server_builder.h>

#include "common/base/status.h"
#include "common/rpc/deadline.h"

namespace baton::rpc {
namespace {

int ToMillis(Duration duration) {
  return static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
}

void Configure(const RpcServer::Config& config, grpc::ServerBuilder& builder) {
  const ConnectionConfig& connection = config.connection;
  builder.SetMaxReceiveMessageSize(connection.max_message_bytes);
  builder.SetMaxSendMessageSize(connection.max_message_bytes);
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIME_MS, ToMillis(connection.keepalive_time));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, ToMillis(connection.keepalive_timeout));
  builder.AddChannelArgument(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  // Half of the agreed time, so that a client that pings a little early is no offender.
  builder.AddChannelArgument(GRPC_ARG_HTTP2_MIN_RECV_PING_INTERVAL_WITHOUT_DATA_MS,
                             ToMillis(connection.keepalive_time) / 2);
  // Two servers on one port would share its connections silently.
  builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
}

}  // namespace

absl::StatusOr<std::unique_ptr<RpcServer>> RpcServer::Create(
    const Config& config, const std::vector<grpc::Service*>& services) {
  // Settings of the library for servers built later; every Baton server wants the same.
  grpc::EnableDefaultHealthCheckService(true);
  if (config.reflection) grpc::reflection::InitProtoReflectionServerBuilderPlugin();
  grpc::ServerBuilder builder;
  Configure(config, builder);
  int port = 0;
  builder.AddListeningPort(config.listen, grpc::InsecureServerCredentials(), &port);
  for (grpc::Service* service : services) builder.RegisterService(service);
  std::unique_ptr<grpc::Server> server = builder.BuildAndStart();
  if (!server || port == 0) {
    return Unavailable("listen: '{}' cannot be bound, expected a free host:port of this machine",
                       config.listen);
  }
  std::unique_ptr<RpcServer> result(new RpcServer(std::move(server), port));
  result->SetHealth(kWholeServer, true);
  result->SetHealth(kLiveness, true);
  result->SetHealth(kReadiness, false);
  return result;
}

RpcServer::RpcServer(std::unique_ptr<grpc::Server> server, int port)
    : server_(std::move(server)), port_(port) {}

RpcServer::~RpcServer() { Shutdown(TimePoint::min()); }

void RpcServer::SetHealth(std::string_view service, bool serving) {
  server_->GetHealthCheckService()->SetServingStatus(std::string(service), serving);
}

void RpcServer::Shutdown(TimePoint deadline) {
  server_->GetHealthCheckService()->Shutdown();
  server_->Shutdown(ToSystemTime(deadline));
  server_->Wait();
}

}  // namespace baton::rpc
