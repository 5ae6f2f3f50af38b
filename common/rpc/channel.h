#pragma once

#include <grpcpp/channel.h>

#include <map>
#include <memory>
#include <mutex>
#include <string>

#include "common/base/clock.h"

namespace baton::rpc {

// Both ends of a channel must agree on these: a server drops clients that ping more often than it
// allows.
struct ConnectionConfig {
  int max_message_bytes = 16 << 20;  // each direction
  Duration keepalive_time = std::chrono::seconds(10);
  Duration keepalive_timeout = std::chrono::seconds(5);
};

// A channel of its own connection. The endpoint is a gRPC target ("host:port"). gRPC's retries are
// off: the router owns them.
std::shared_ptr<grpc::Channel> MakeChannel(const std::string& endpoint,
                                           const ConnectionConfig& config);

// One channel per endpoint, kept until Forget.
// Thread-safe.
class ChannelPool {
 public:
  explicit ChannelPool(ConnectionConfig config = {}) : config_(config) {}

  std::shared_ptr<grpc::Channel> Get(const std::string& endpoint);
  // Lets go of the channel to a worker that left; its open streams keep it until they end.
  void Forget(const std::string& endpoint);

 private:
  const ConnectionConfig config_;
  std::mutex mutex_;
  std::map<std::string, std::shared_ptr<grpc::Channel>> channels_;  // guarded by mutex_
};

}  // namespace baton::rpc
