#pragma once

#include <grpcpp/channel.h>

#include <condition_variable>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

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

// What streams hold of a channel: it stays usable, and its pool waits, until the lease is gone.
using ChannelLease = std::shared_ptr<grpc::Channel>;

// One channel per endpoint, kept until Forget.
//
// gRPC stops the threads that run its callbacks when the process's last channel goes, and waits for
// them. So a channel may never die in a callback, where streams end: the pool outlives the leases
// and lets go of channels on its callers' threads alone, which must not be gRPC's.
// Thread-safe.
class ChannelPool {
 public:
  explicit ChannelPool(ConnectionConfig config = {}) : config_(config) {}
  // Waits for the last lease: destroy or end the streams first.
  ~ChannelPool();

  ChannelLease Get(const std::string& endpoint);
  // Lets go of the channel to a worker that left; its open streams keep it until they end.
  void Forget(const std::string& endpoint);

 private:
  struct Leases {
    std::mutex mutex;
    std::condition_variable returned;
    int count = 0;  // guarded by mutex
  };
  struct Entry {
    std::shared_ptr<grpc::Channel> channel;
    std::weak_ptr<grpc::Channel> lease;  // shared by the channel's streams
  };
  ChannelLease Lease(const std::shared_ptr<grpc::Channel>& channel) const;
  // Drops those of `forgotten_` that no stream holds any more.
  void SweepLocked();

  const ConnectionConfig config_;
  const std::shared_ptr<Leases> leases_ = std::make_shared<Leases>();
  std::mutex mutex_;
  std::map<std::string, Entry> channels_;  // guarded by mutex_
  std::vector<Entry> forgotten_;           // guarded by mutex_
};

}  // namespace baton::rpc
