#pragma once

#include <grpcpp/impl/codegen/service_type.h>

#include <atomic>
#include <memory>
#include <string>
#include <vector>

#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "common/rpc/services.h"

namespace baton {

// A server that plays both workers of a cluster, and the upstream of a forwarder: each answers at
// once, with as many tokens as were asked for.
class FakeWorkers {
 public:
  FakeWorkers();
  ~FakeWorkers();

  const std::string& endpoint() const { return endpoint_; }
  // Registers as one prefill and one decode worker of model "bench" and waits until accepted.
  void Register(const std::string& router);
  // A load report of both: the router wants one every now and then.
  void Report();
  // From now on requests get one token and then nothing more.
  void Hold(bool hold) { hold_ = hold; }

 private:
  std::atomic<bool> hold_ = false;
  std::string endpoint_;
  rpc::ChannelPool channels_;
  std::vector<std::unique_ptr<grpc::Service>> services_;
  std::unique_ptr<rpc::RpcServer> server_;
  std::vector<std::unique_ptr<EventStream<v1::RegisterRequest, v1::RegisterResponse>>> registered_;
};

}  // namespace baton
