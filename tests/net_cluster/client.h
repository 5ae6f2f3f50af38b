#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>

#include "common/rpc/channel.h"
#include "tests/cluster/cluster.h"

namespace baton {

// A client's call over gRPC, checked against the oracle as its events arrive on threads of gRPC.
class NetCall {
 public:
  // Sends the request at once. `channels` outlives the call.
  NetCall(rpc::ChannelPool& channels, const std::string& router, v1::GenerateRequest request,
          const FakeRunner::Config& model, TimePoint deadline = TimePoint::max());
  ~NetCall() { Disconnect(); }

  // Both give up after a minute and say so by false. AwaitTokens also returns at the end.
  bool AwaitEnd();
  bool AwaitTokens(size_t count);
  // The client is gone: nothing more arrives.
  void Disconnect();

  bool ended() const;
  size_t tokens() const;
  // When nothing arrives any more.
  const ClientCall& result() const { return call_; }

 private:
  bool Await(const std::function<bool()>& condition);

  mutable std::mutex mutex_;
  std::condition_variable changed_;
  ClientCall call_;  // guarded by mutex_ until its end
  std::unique_ptr<EventStream<v1::GenerateRequest, v1::GenerateResponse>> stream_;
};

}  // namespace baton
