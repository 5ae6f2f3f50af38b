#include "common/rpc/channel.h"

#include <grpcpp/create_channel.h>
#include <grpcpp/security/credentials.h>
#include <grpcpp/support/channel_arguments.h>

namespace baton::rpc {
namespace {

int ToMillis(Duration duration) {
  return static_cast<int>(std::chrono::duration_cast<std::chrono::milliseconds>(duration).count());
}

}  // namespace

std::shared_ptr<grpc::Channel> MakeChannel(const std::string& endpoint,
                                           const ConnectionConfig& config) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(config.max_message_bytes);
  arguments.SetMaxSendMessageSize(config.max_message_bytes);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, ToMillis(config.keepalive_time));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, ToMillis(config.keepalive_timeout));
  arguments.SetInt(GRPC_ARG_KEEPALIVE_PERMIT_WITHOUT_CALLS, 1);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  // A restarted worker must be reached again within its membership time-out.
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 200);
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 2000);
  arguments.SetInt(GRPC_ARG_ENABLE_RETRIES, 0);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  // Workers are addressed directly: a proxy named in the environment must not get between them.
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);
  return grpc::CreateCustomChannel(endpoint, grpc::InsecureChannelCredentials(), arguments);
}

ChannelPool::~ChannelPool() {
  std::unique_lock lock(leases_->mutex);
  leases_->returned.wait(lock, [&] { return leases_->count == 0; });
}

ChannelLease ChannelPool::Get(const std::string& endpoint) {
  std::lock_guard lock(mutex_);
  SweepLocked();
  Entry& entry = channels_[endpoint];
  if (!entry.channel) entry.channel = MakeChannel(endpoint, config_);
  ChannelLease lease = entry.lease.lock();
  if (!lease) entry.lease = lease = Lease(entry.channel);
  return lease;
}

void ChannelPool::Forget(const std::string& endpoint) {
  std::lock_guard lock(mutex_);
  auto node = channels_.extract(endpoint);
  if (!node.empty()) forgotten_.push_back(std::move(node.mapped()));
  SweepLocked();
}

ChannelLease ChannelPool::Lease(const std::shared_ptr<grpc::Channel>& channel) const {
  {
    std::lock_guard lock(leases_->mutex);
    ++leases_->count;
  }
  return ChannelLease(channel.get(), [leases = leases_](grpc::Channel*) {
    std::lock_guard lock(leases->mutex);
    if (--leases->count == 0) leases->returned.notify_all();
  });
}

void ChannelPool::SweepLocked() {
  std::erase_if(forgotten_, [](const Entry& entry) { return entry.lease.expired(); });
}

}  // namespace baton::rpc
