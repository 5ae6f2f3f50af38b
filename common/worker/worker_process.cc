#include "common/worker/worker_process.h"

#include <unistd.h>

#include <array>
#include <charconv>
#include <filesystem>
#include <random>
#include <utility>

#include "common/base/status.h"
#include "common/cluster/registry_reporter.h"
#include "common/handoff/ucx/ucx_transport.h"
#include "common/metrics/names.h"
#include "common/metrics/prometheus/exporter.h"
#include "common/rpc/server.h"
#include "common/rpc/services.h"
#include "common/worker/loaded_model.h"
#include "common/worker/port_file.h"
#include "common/worker/serve_loop.h"
#include "kernels/gemm/gemm.h"

namespace baton {
namespace {

constexpr Duration kTickPeriod = std::chrono::milliseconds(5);
constexpr Duration kFabricPeriod = std::chrono::seconds(1);
// What open streams get to say goodbye.
constexpr Duration kShutdownGrace = std::chrono::seconds(2);

std::string RoleName(v1::Role role) { return role == v1::ROLE_PREFILL ? "prefill" : "decode"; }

std::string DefaultWorkerId(v1::Role role) {
  std::array<char, 256> host{};
  if (gethostname(host.data(), host.size() - 1) != 0) host[0] = '\0';
  return fmt::format("{}-{}-{}", RoleName(role), host.data(), getpid());
}

WorkerOptions WithDefaults(v1::Role role, WorkerOptions options) {
  if (options.worker_id.empty()) options.worker_id = DefaultWorkerId(role);
  if (options.served_model_name.empty()) {
    const std::filesystem::path folder = std::filesystem::weakly_canonical(options.model);
    options.served_model_name = folder.filename().string();
  }
  if (options.advertise.empty()) options.advertise = HostOf(options.listen);
  return options;
}

int PortOf(const std::string& endpoint) {
  int port = 0;
  const size_t colon = endpoint.rfind(':');
  if (colon != std::string::npos) {
    std::from_chars(endpoint.data() + colon + 1, endpoint.data() + endpoint.size(), port);
  }
  return port;
}

// Logs which fabric carries the slabs: UCX chooses it when a connection is made.
class FabricLog {
 public:
  FabricLog(const BulkTransport& transport, Clock& clock, Logger& logger)
      : transport_(transport), clock_(clock), logger_(logger) {}

  void Tick() {
    const TimePoint now = clock_.Now();
    if (now < due_) return;
    due_ = now + kFabricPeriod;
    std::string fabric = transport_.Describe();
    if (fabric == last_) return;
    last_ = std::move(fabric);
    logger_.Info("kv.transport", {{"fabric", last_}});
  }

 private:
  const BulkTransport& transport_;
  Clock& clock_;
  Logger& logger_;
  TimePoint due_ = TimePoint::min();
  std::string last_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<WorkerProcess>> WorkerProcess::Create(v1::Role role,
                                                                     WorkerOptions options) {
  BATON_ASSIGN_OR_RETURN(std::unique_ptr<StopSignals> signals, StopSignals::Create());
  std::unique_ptr<WorkerProcess> process(
      new WorkerProcess(role, WithDefaults(role, std::move(options))));
  process->signals_ = std::move(signals);
  BATON_RETURN_IF_ERROR(process->Load());
  return process;
}

WorkerProcess::WorkerProcess(v1::Role role, WorkerOptions options)
    : role_(role), options_(std::move(options)) {
  logger_ = std::make_unique<Logger>(Logger::Config{
      .format = options_.log_format, .level = options_.log_level, .component = RoleName(role)});
  metrics_ = std::make_unique<MetricRegistry>(MetricLabels{{"role", RoleName(role)},
                                                           {"model", options_.served_model_name},
                                                           {"worker", options_.worker_id}});
  mailbox_ = std::make_unique<Mailbox>(clock_);
  identity_.set_worker_id(options_.worker_id);
  identity_.set_incarnation(MakeRandomEngine()());
}

WorkerProcess::~WorkerProcess() = default;

absl::Status WorkerProcess::Load() {
  if (options_.advertise == "0.0.0.0" || options_.advertise == "[::]") {
    return InvalidArgument("--advertise: '{}', expected a host that peers can reach",
                           options_.advertise);
  }
  BATON_ASSIGN_OR_RETURN(LoadedModel model, LoadWorkerModel(options_, *logger_));
  runner_ = std::move(model.runner);
  contract_ = std::move(model.contract);
  limits_ = std::move(model.limits);
  executor_ = std::make_unique<ThreadedExecutor>(RoleName(role_), clock_);
  BATON_ASSIGN_OR_RETURN(transport_, CreateUcxTransport({}));
  return absl::OkStatus();
}

absl::Status WorkerProcess::Serve(const WorkerRole& role) {
  BATON_ASSIGN_OR_RETURN(
      const auto server,
      rpc::RpcServer::Create({.listen = options_.listen, .reflection = options_.reflection},
                             role.services));
  std::unique_ptr<PrometheusExporter> exporter;
  std::vector<std::pair<std::string, int>> ports = {{"rpc", server->port()}};
  if (!options_.metrics_listen.empty()) {
    BATON_ASSIGN_OR_RETURN(exporter,
                           PrometheusExporter::Create(options_.metrics_listen, *metrics_));
    ports.emplace_back("metrics", exporter->port());
  }
  if (!role.kv_endpoint.empty()) ports.emplace_back("kv", PortOf(role.kv_endpoint));
  BATON_RETURN_IF_ERROR(WritePortFile(options_.port_file, ports));
  logger_->Info("serving", {{"worker", options_.worker_id},
                            {"rpc", fmt::format("{}:{}", options_.advertise, server->port())},
                            {"kv", role.kv_endpoint},
                            {"transport", transport_->Describe()}});
  RunUntilStopped(role, *server);
  role.shutdown(Unavailable("the worker has stopped"));
  server->Shutdown(clock_.Now() + kShutdownGrace);
  executor_->Stop();
  transport_->Close();
  logger_->Info("stopped");
  return absl::OkStatus();
}

void WorkerProcess::RunUntilStopped(const WorkerRole& role, rpc::RpcServer& server) {
  ServeLoop* loop = nullptr;  // set before the first event
  std::unique_ptr<RegistryReporter> reporter;
  if (!options_.router.empty()) {
    reporter = std::make_unique<RegistryReporter>(
        RegistryReporter::Config{.descriptor = Descriptor(role, server.port()),
                                 .router_endpoint = options_.router,
                                 .jitter_seed = identity_.incarnation()},
        rpc::RegistryOpener(channels_), *mailbox_, *logger_, role.load,
        [&loop] { loop->StopRequested(1); });
  }
  ServeLoop serve({.drain_timeout = options_.drain_timeout}, role, reporter.get(), clock_,
                  *mailbox_, *logger_,
                  [&server](bool ready) { server.SetHealth(rpc::kReadiness, ready); });
  loop = &serve;
  signals_->Watch([this, &serve](int count) {
    mailbox_->Post([&serve, count] { serve.StopRequested(count); });
  });
  FabricLog fabric(*transport_, clock_, *logger_);
  mailbox_->Run(kTickPeriod, [&serve, &fabric] {
    serve.Tick();
    fabric.Tick();
  });
  signals_.reset();
  server.SetHealth(rpc::kReadiness, false);
  if (reporter) reporter->Stop();
}

v1::WorkerDescriptor WorkerProcess::Descriptor(const WorkerRole& role, int rpc_port) const {
  v1::WorkerDescriptor descriptor;
  *descriptor.mutable_identity() = identity_;
  descriptor.set_role(role_);
  descriptor.set_model(options_.served_model_name);
  *descriptor.mutable_contract() = contract_;
  descriptor.set_rpc_endpoint(fmt::format("{}:{}", options_.advertise, rpc_port));
  if (!role.kv_endpoint.empty()) {
    descriptor.set_kv_endpoint(fmt::format("{}:{}", options_.advertise, PortOf(role.kv_endpoint)));
  }
  descriptor.set_transport(options_.transport);
  descriptor.set_max_context(limits_.max_context);
  descriptor.set_max_queue(options_.max_queue);
  descriptor.set_pages_total(runner_->kv().page_count);
  descriptor.set_dispatch_target(kernels::DispatchTarget());
  for (int32_t token : limits_.eos_token_ids) descriptor.add_eos_token_ids(token);
  return descriptor;
}

}  // namespace baton
