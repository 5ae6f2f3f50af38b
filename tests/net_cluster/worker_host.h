#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "common/engine/threaded_executor.h"
#include "common/handoff/bulk_transport.h"
#include "common/metrics/prometheus/exporter.h"
#include "common/metrics/registry.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "common/worker/serve_loop.h"
#include "decode_node/decode_worker.h"
#include "prefill_node/prefill_worker.h"
#include "tests/cluster/nodes.h"
#include "tests/net_cluster/gated_runner.h"
#include "tests/net_cluster/owner_thread.h"

namespace grpc {
class Service;
}

namespace baton {

// A worker as its program builds and serves it (common/worker/worker_process.cc), but with the fake
// model and a call instead of signals.
class WorkerHost {
 public:
  virtual ~WorkerHost() = default;

  // As `count` signals in all: the first drains, the second ends the worker. Thread-safe.
  void RequestStop(int count);
  // Waits until the worker's thread has ended.
  void Join() { thread.Join(); }
  // Nothing accepted, held, leased or in flight; pages in use are the cache's. Owner's thread.
  virtual bool idle() const = 0;

  const std::string& id() const { return options_.id; }
  const NodeOptions& options() const { return options_; }
  std::string endpoint() const;
  // Starts the exporter when asked first: each takes two seconds to stop.
  int metrics_port();

  RealClock clock;
  GatedRunner runner;
  MetricRegistry metrics;
  OwnerThread thread{clock};

 protected:
  WorkerHost(NodeOptions options, v1::Role role);
  // Call it last when constructing; End first when destroying.
  void Serve(WorkerRole role, const std::string& router);
  void End();
  v1::WorkerIdentity Identity() const;
  RequestLimits Limits() const;

  const NodeOptions options_;
  const v1::Role role_name_;
  Logger logger_{Logger::Config{.level = LogLevel::kError}};
  ThreadedExecutor executor_;
  std::unique_ptr<BulkTransport> transport_;
  rpc::ChannelPool channels_;

 private:
  v1::WorkerDescriptor Descriptor() const;

  WorkerRole role_;
  std::unique_ptr<rpc::RpcServer> server_;
  std::unique_ptr<PrometheusExporter> exporter_;
  std::unique_ptr<RegistryReporter> reporter_;
  std::unique_ptr<ServeLoop> loop_;  // the owner's thread only
};

class PrefillHost : public WorkerHost {
 public:
  PrefillHost(NodeOptions options, const std::string& router);
  ~PrefillHost() override;
  bool idle() const override { return worker_->idle(); }

 private:
  std::unique_ptr<PrefillWorker> worker_;
  std::unique_ptr<grpc::Service> service_;
};

class DecodeHost : public WorkerHost {
 public:
  DecodeHost(NodeOptions options, const std::string& router);
  ~DecodeHost() override;
  bool idle() const override;

 private:
  std::unique_ptr<DecodeWorker> worker_;
  std::unique_ptr<grpc::Service> decode_service_;
  std::unique_ptr<grpc::Service> handoff_service_;
};

}  // namespace baton
