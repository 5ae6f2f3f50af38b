#include "tests/net_cluster/router_host.h"

#include <gtest/gtest.h>

#include <utility>

#include "common/base/status.h"
#include "common/rpc/services.h"
#include "router/inference_service.h"

namespace baton {
namespace {

constexpr Duration kTickPeriod = std::chrono::milliseconds(20);
constexpr Duration kCloseTime = std::chrono::milliseconds(500);

}  // namespace

RouterHost::RouterHost(const Options& options)
    : policy_(*MakeRoutingPolicy(options.policy, options.seed)) {
  Router::Config config;
  config.model.name = "fake";
  config.max_queue = options.max_queue;
  config.max_retries = options.retries;
  config.seed = options.seed;
  router_ = std::make_unique<Router>(
      std::move(config), clock, thread.mailbox, logger_, &codec_, *policy_, metrics,
      LiveRequest::Openers{rpc::PrefillOpener(channels_), rpc::DecodeOpener(channels_)});
  inference_ = MakeInferenceService(*router_, thread.mailbox);
  registry_ = rpc::MakeRegistryService(router_->RegisterAcceptor());
  auto server = rpc::RpcServer::Create({}, {inference_.get(), registry_.get()});
  EXPECT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  thread.Start(
      "router", kTickPeriod, [this] { Tick(); },
      [this] {
        router_->Close();
        server_->Shutdown(clock.Now() + kCloseTime);
      });
}

RouterHost::~RouterHost() {
  thread.mailbox.Stop();
  thread.Join();
}

std::string RouterHost::endpoint() const { return fmt::format("127.0.0.1:{}", server_->port()); }

int RouterHost::metrics_port() {
  if (exporter_ == nullptr) exporter_ = *PrometheusExporter::Create("127.0.0.1:0", metrics);
  return exporter_->port();
}

void RouterHost::Tick() {
  router_->Tick();
  if (const bool ready = router_->ready(); ready != ready_) {
    ready_ = ready;
    server_->SetHealth(rpc::kReadiness, ready);
  }
}

}  // namespace baton
