#pragma once

#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "baton/v1/kv.pb.h"
#include "baton/v1/registry.pb.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/base/mailbox.h"
#include "common/engine/model_runner.h"
#include "common/engine/request.h"
#include "common/engine/threaded_executor.h"
#include "common/handoff/bulk_transport.h"
#include "common/metrics/registry.h"
#include "common/rpc/channel.h"
#include "common/rpc/server.h"
#include "common/worker/stop_signals.h"
#include "common/worker/worker_options.h"

namespace grpc {
class Service;
}

namespace baton {

// What a role brings to its process. Everything is called on the engine thread, which is the thread
// that called Serve.
struct WorkerRole {
  std::vector<grpc::Service*> services;  // outlive Serve
  std::string kv_endpoint;               // decode worker: as BulkTransport::Listen returned it
  std::function<void()> tick;            // after each batch of events, at least every 5 ms
  std::function<v1::LoadReport()> load;
  std::function<void(TimePoint deadline)> drain;      // refuse new work, finish the rest
  std::function<bool()> drained;                      // nothing accepted is left
  std::function<void(const absl::Status&)> shutdown;  // end what is left with this status
};

// The common part of a worker program: loads the model, makes the contract, owns clock, log,
// mailbox, lanes, transport and metrics, serves, registers with the router, drains at SIGTERM or
// SIGINT and stops at the second one.
//
//   auto process = WorkerProcess::Create(v1::ROLE_PREFILL, std::move(options));
//   … build the worker from the process's parts, then the services from the worker …
//   return process->Serve(role);   // then destroy services, worker, process in this order
class WorkerProcess {
 public:
  // Blocks the stop signals for the calling thread and those it starts: call it first in main.
  static absl::StatusOr<std::unique_ptr<WorkerProcess>> Create(v1::Role role,
                                                               WorkerOptions options);
  ~WorkerProcess();

  const WorkerOptions& options() const { return options_; }
  const v1::WorkerIdentity& identity() const { return identity_; }
  // Wire formats: those this worker can pack and scatter, its resident format first.
  const v1::KvContract& contract() const { return contract_; }
  const RequestLimits& limits() const { return limits_; }
  ModelRunner& runner() { return *runner_; }
  Executor& executor() { return *executor_; }
  Mailbox& mailbox() { return *mailbox_; }
  Clock& clock() { return clock_; }
  Logger& logger() { return *logger_; }
  BulkTransport& transport() { return *transport_; }
  rpc::ChannelPool& channels() { return channels_; }
  MetricRegistry& metrics() { return *metrics_; }

  // Serves until drained or told to stop, then stops server, lanes and transport: when it returns,
  // no callback runs any more. The status says why it could not serve. At most once.
  absl::Status Serve(const WorkerRole& role);

 private:
  WorkerProcess(v1::Role role, WorkerOptions options);
  absl::Status Load();
  v1::WorkerDescriptor Descriptor(const WorkerRole& role, int rpc_port) const;
  // The engine thread's life, from the first event to the last.
  void RunUntilStopped(const WorkerRole& role, rpc::RpcServer& server);

  const v1::Role role_;
  const WorkerOptions options_;
  std::unique_ptr<StopSignals> signals_;
  RealClock clock_;
  std::unique_ptr<Logger> logger_;
  std::unique_ptr<MetricRegistry> metrics_;
  std::unique_ptr<Mailbox> mailbox_;
  v1::WorkerIdentity identity_;
  v1::KvContract contract_;
  RequestLimits limits_;
  std::unique_ptr<ModelRunner> runner_;
  std::unique_ptr<ThreadedExecutor> executor_;
  std::unique_ptr<BulkTransport> transport_;
  rpc::ChannelPool channels_;
};

}  // namespace baton
