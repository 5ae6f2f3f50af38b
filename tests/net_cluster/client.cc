#include "tests/net_cluster/client.h"

#include <gtest/gtest.h>

#include <utility>

#include "common/rpc/services.h"

namespace baton {

NetCall::NetCall(rpc::ChannelPool& channels, const std::string& router, v1::GenerateRequest request,
                 const FakeRunner::Config& model, TimePoint deadline)
    : call_(std::move(request), model) {
  stream_ = rpc::GenerateOpener(channels)(router, deadline, [this](auto event) {
    std::lock_guard lock(mutex_);
    call_.OnEvent(std::move(event));
    changed_.notify_all();
  });
  stream_->Send(call_.request).IgnoreError();
  stream_->Close(absl::OkStatus());
}

bool NetCall::Await(const std::function<bool()>& condition) {
  std::unique_lock lock(mutex_);
  return changed_.wait_for(lock, std::chrono::minutes(1), condition);
}

bool NetCall::AwaitEnd() {
  return Await([this] { return call_.ended(); });
}

bool NetCall::AwaitTokens(size_t count) {
  return Await([this, count] { return call_.ended() || call_.tokens.size() >= count; });
}

void NetCall::Disconnect() { stream_.reset(); }

bool NetCall::ended() const {
  std::lock_guard lock(mutex_);
  return call_.ended();
}

size_t NetCall::tokens() const {
  std::lock_guard lock(mutex_);
  return call_.tokens.size();
}

}  // namespace baton
