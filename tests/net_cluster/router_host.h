#pragma once

#include <memory>
#include <string>

#include "common/metrics/prometheus/exporter.h"
#include "common/metrics/registry.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "router/router.h"
#include "tests/cluster/letter_codec.h"
#include "tests/net_cluster/owner_thread.h"

namespace grpc {
class Service;
}

namespace baton {

// A router as its program builds and serves it (router/router_process.cc), without options, model
// folder and signals.
class RouterHost {
 public:
  struct Options {
    size_t max_queue = 64;
    uint32_t retries = 2;
    std::string policy = "round_robin";
    uint64_t seed = 1;
  };
  explicit RouterHost(const Options& options);
  ~RouterHost();

  std::string endpoint() const;
  // Starts the exporter when asked first: each takes two seconds to stop.
  int metrics_port();
  // The owner's thread only.
  Router& router() { return *router_; }

  RealClock clock;
  MetricRegistry metrics{{{"role", "router"}, {"model", "fake"}}};
  OwnerThread thread{clock};

 private:
  void Tick();

  Logger logger_{Logger::Config{.level = LogLevel::kError}};
  const LetterCodec codec_;
  const std::unique_ptr<RoutingPolicy> policy_;
  rpc::ChannelPool channels_;
  std::unique_ptr<Router> router_;
  std::unique_ptr<grpc::Service> inference_;
  std::unique_ptr<grpc::Service> registry_;
  std::unique_ptr<rpc::RpcServer> server_;
  std::unique_ptr<PrometheusExporter> exporter_;
  bool ready_ = false;
};

}  // namespace baton
