#include "tests/net_cluster/worker_host.h"

#include <gtest/gtest.h>

#include <utility>

#include "common/base/status.h"
#include "common/handoff/ucx/ucx_transport.h"
#include "common/rpc/services.h"

namespace baton {
namespace {

constexpr Duration kTickPeriod = std::chrono::milliseconds(5);
constexpr Duration kShutdownGrace = std::chrono::seconds(2);

std::string NameOf(v1::Role role) { return role == v1::ROLE_PREFILL ? "prefill" : "decode"; }

}  // namespace

WorkerHost::WorkerHost(NodeOptions options, v1::Role role)
    : runner(options.runner),
      metrics(MetricLabels{{"role", NameOf(role)}, {"model", "fake"}, {"worker", options.id}}),
      options_(std::move(options)),
      role_name_(role),
      executor_(options_.id, clock) {
  auto transport = CreateUcxTransport({});
  EXPECT_TRUE(transport.ok()) << transport.status();
  transport_ = *std::move(transport);
}

v1::WorkerIdentity WorkerHost::Identity() const {
  v1::WorkerIdentity identity;
  identity.set_worker_id(options_.id);
  identity.set_incarnation(options_.incarnation);
  return identity;
}

RequestLimits WorkerHost::Limits() const {
  return {.vocab_size = options_.runner.vocab_size, .max_context = options_.max_context};
}

std::string WorkerHost::endpoint() const { return fmt::format("127.0.0.1:{}", server_->port()); }

int WorkerHost::metrics_port() {
  if (exporter_ == nullptr) exporter_ = *PrometheusExporter::Create("127.0.0.1:0", metrics);
  return exporter_->port();
}

v1::WorkerDescriptor WorkerHost::Descriptor() const {
  v1::WorkerDescriptor descriptor;
  *descriptor.mutable_identity() = Identity();
  descriptor.set_role(role_name_);
  descriptor.set_model("fake");
  *descriptor.mutable_contract() = ContractOf(options_);
  descriptor.set_rpc_endpoint(endpoint());
  descriptor.set_kv_endpoint(role_.kv_endpoint);
  descriptor.set_transport("ucx");
  descriptor.set_max_context(static_cast<uint32_t>(options_.max_context));
  if (options_.tells_queue) descriptor.set_max_queue(static_cast<uint32_t>(options_.max_queue));
  descriptor.set_pages_total(static_cast<uint32_t>(options_.runner.page_count));
  return descriptor;
}

void WorkerHost::Serve(WorkerRole role, const std::string& router) {
  role_ = std::move(role);
  auto server = rpc::RpcServer::Create({}, role_.services);
  ASSERT_TRUE(server.ok()) << server.status();
  server_ = *std::move(server);
  reporter_ = std::make_unique<RegistryReporter>(
      RegistryReporter::Config{.descriptor = Descriptor(), .router_endpoint = router},
      rpc::RegistryOpener(channels_), thread.mailbox, logger_, role_.load,
      [this] { loop_->StopRequested(1); });
  loop_ = std::make_unique<ServeLoop>(
      ServeLoop::Config{.drain_timeout = std::chrono::seconds(60)}, role_, reporter_.get(), clock,
      thread.mailbox, logger_, [this](bool ready) { server_->SetHealth(rpc::kReadiness, ready); });
  thread.Start(
      options_.id, kTickPeriod, [this] { loop_->Tick(); },
      [this] {
        server_->SetHealth(rpc::kReadiness, false);
        reporter_->Stop();
        role_.shutdown(Unavailable("the worker has stopped"));
        server_->Shutdown(clock.Now() + kShutdownGrace);
        executor_.Stop();
        transport_->Close();
      });
}

void WorkerHost::RequestStop(int count) {
  thread.mailbox.Post([this, count] { loop_->StopRequested(count); });
}

void WorkerHost::End() {
  runner.OpenGate();
  RequestStop(2);
  Join();
}

PrefillHost::PrefillHost(NodeOptions options, const std::string& router)
    : WorkerHost(std::move(options), v1::ROLE_PREFILL) {
  PrefillWorker::Config config;
  config.self = Identity();
  config.contract = ContractOf(options_);
  config.limits = Limits();
  config.max_queue = options_.max_queue;
  config.chunk_tokens = options_.chunk_tokens;
  config.max_batch = options_.max_batch;
  config.prefix_cache = options_.prefix_cache;
  config.slab_bytes = options_.slab_bytes;
  config.arena_bytes = options_.arena_bytes;
  config.lease = options_.lease;
  config.transport = "ucx";
  auto worker = PrefillWorker::Create(std::move(config),
                                      {runner, executor_, thread.mailbox, clock, *transport_,
                                       rpc::HandoffOpener(channels_), logger_, metrics});
  EXPECT_TRUE(worker.ok()) << worker.status();
  worker_ = *std::move(worker);
  service_ = rpc::MakePrefillService(worker_->acceptor());
  Serve({.services = {service_.get()},
         .tick = [this] { worker_->Tick(); },
         .load = [this] { return worker_->Load(); },
         .drain = [this](TimePoint deadline) { worker_->Drain(deadline); },
         .drained = [this] { return worker_->drained(); },
         .shutdown = [this](const absl::Status& status) { worker_->Shutdown(status); }},
        router);
}

PrefillHost::~PrefillHost() { End(); }

DecodeHost::DecodeHost(NodeOptions options, const std::string& router)
    : WorkerHost(std::move(options), v1::ROLE_DECODE) {
  DecodeWorker::Config config;
  config.identity = Identity();
  config.contract = ContractOf(options_);
  config.limits = Limits();
  config.kv_listen = "127.0.0.1:0";
  config.prefix_cache = options_.prefix_cache;
  config.max_batch = options_.max_batch;
  config.max_queue = options_.max_queue;
  config.max_pending_kv = options_.max_pending_kv;
  config.slab_bytes = options_.slab_bytes;
  config.arena_bytes = options_.arena_bytes;
  config.leases = options_.lease;
  config.transport = "ucx";
  auto worker = DecodeWorker::Create(
      std::move(config), {clock, thread.mailbox, executor_, runner, *transport_, logger_, metrics});
  EXPECT_TRUE(worker.ok()) << worker.status();
  worker_ = *std::move(worker);
  decode_service_ = rpc::MakeDecodeService([this](auto stream, TimePoint deadline) {
    return worker_->AcceptDecode(std::move(stream), deadline);
  });
  handoff_service_ = rpc::MakeHandoffService([this](auto stream, TimePoint deadline) {
    return worker_->AcceptHandoff(std::move(stream), deadline);
  });
  Serve({.services = {decode_service_.get(), handoff_service_.get()},
         .kv_endpoint = worker_->kv_endpoint(),
         .tick = [this] { worker_->Tick(); },
         .load = [this] { return worker_->Load(); },
         .drain = [this](TimePoint deadline) { worker_->Drain(deadline); },
         .drained = [this] { return worker_->drained(); },
         .shutdown = [this](const absl::Status& status) { worker_->Shutdown(status); }},
        router);
}

DecodeHost::~DecodeHost() { End(); }

bool DecodeHost::idle() const {
  const PagePool& pages = worker_->pages();
  return worker_->idle() && pages.allocator().used_count() == pages.index().size();
}

}  // namespace baton
