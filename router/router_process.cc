#include "router/router_process.h"

#include <sys/signalfd.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <utility>

#include "common/base/status.h"
#include "common/metrics/prometheus/exporter.h"
#include "common/model/architecture.h"
#include "common/model/model_config.h"
#include "common/model/model_files.h"
#include "common/rpc/server.h"
#include "common/rpc/services.h"
#include "router/inference_service.h"
#include "router/router.h"
#include "router/tokenizer_codec.h"

namespace baton {
namespace {

constexpr Duration kTickPeriod = std::chrono::milliseconds(20);
constexpr Duration kCloseTime = std::chrono::milliseconds(500);

// SIGTERM and SIGINT as something to look at between events.
class StopSignals {
 public:
  StopSignals() {
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    fd_ = signalfd(-1, &set, SFD_NONBLOCK | SFD_CLOEXEC);
  }
  ~StopSignals() { close(fd_); }
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  // Takes one; false when none came.
  bool Take() {
    signalfd_siginfo info;
    return read(fd_, &info, sizeof(info)) == sizeof(info);
  }

 private:
  int fd_;
};

struct LoadedModel {
  ModelInfo info;
  std::unique_ptr<TokenizerCodec> codec;  // null without a model folder
};

absl::StatusOr<LoadedModel> LoadModel(const RouterOptions& options) {
  LoadedModel model;
  model.info.name = options.served_model_name;
  if (options.model.empty()) {
    if (model.info.name.empty()) {
      return InvalidArgument("--served-model-name: empty, expected a name where --model is absent");
    }
    return model;
  }
  const std::filesystem::path folder = std::filesystem::canonical(options.model);
  if (model.info.name.empty()) model.info.name = folder.filename().string();
  BATON_ASSIGN_OR_RETURN(const ModelConfig config, LoadModelConfig(folder));
  BATON_ASSIGN_OR_RETURN(const std::string tokenizer_json, ReadTokenizerJson(folder));
  auto tokenizer = Tokenizer::Parse(tokenizer_json);
  if (!tokenizer.ok()) return Annotate(tokenizer.status(), folder.string());
  model.info.architecture = std::string(config.architecture->name);
  model.info.vocab_size = static_cast<uint32_t>(config.vocab_size);
  model.info.max_context = static_cast<uint32_t>(config.max_positions);
  model.info.eos_token_ids.assign(config.eos_tokens.begin(), config.eos_tokens.end());
  model.codec = std::make_unique<TokenizerCodec>(*std::move(tokenizer));
  return model;
}

Router::Config MakeConfig(const RouterOptions& options, ModelInfo model) {
  Router::Config config;
  config.model = std::move(model);
  config.max_queue = options.max_queue;
  config.max_retries = options.max_retries;
  config.default_timeout = options.default_timeout;
  config.registry.router_id = options.router_id.empty() ? "router" : options.router_id;
  config.registry.membership.suspect_after = options.suspect_after;
  config.registry.membership.lost_after = options.lost_after;
  config.seed = MakeRandomEngine()();
  return config;
}

// Written aside and renamed, so that a reader never sees half of it.
absl::Status WritePorts(const std::string& path, int rpc, int metrics) {
  if (path.empty()) return absl::OkStatus();
  const std::string aside = path + ".new";
  {
    std::ofstream file(aside);
    file << "rpc=" << rpc << "\nmetrics=" << metrics << "\n";
    if (!file.flush()) return Unavailable("--port-file: cannot write '{}'", aside);
  }
  std::error_code error;
  std::filesystem::rename(aside, path, error);
  if (error) return Unavailable("--port-file: cannot write '{}': {}", path, error.message());
  return absl::OkStatus();
}

// Runs the mailbox with what has to happen between events: signals, drain, readiness.
class RouterLoop {
 public:
  RouterLoop(Router& router, rpc::RpcServer& server, StopSignals& signals, Mailbox& mailbox,
             Clock& clock, Logger& logger, Duration drain_timeout)
      : router_(router),
        server_(server),
        signals_(signals),
        mailbox_(mailbox),
        clock_(clock),
        logger_(logger),
        drain_timeout_(drain_timeout) {}

  void Run() {
    mailbox_.Run(kTickPeriod, [this] { Tick(); });
  }

 private:
  void Tick() {
    router_.Tick();
    const TimePoint now = clock_.Now();
    if (now < next_look_) return;
    next_look_ = now + kTickPeriod;
    if (signals_.Take()) OnSignal(now);
    if (const bool ready = router_.ready(); ready != ready_) {
      ready_ = ready;
      server_.SetHealth(rpc::kReadiness, ready);
      logger_.Info(ready ? "ready" : "not_ready", {});
    }
    if (draining_ && router_.idle()) mailbox_.Stop();
  }

  void OnSignal(TimePoint now) {
    logger_.Info(draining_ ? "stopping" : "draining", {});
    router_.Drain(draining_ ? now : now + drain_timeout_);
    draining_ = true;
  }

  Router& router_;
  rpc::RpcServer& server_;
  StopSignals& signals_;
  Mailbox& mailbox_;
  Clock& clock_;
  Logger& logger_;
  const Duration drain_timeout_;
  TimePoint next_look_ = TimePoint::min();
  bool draining_ = false;
  bool ready_ = false;
};

}  // namespace

absl::Status RunRouter(const RouterOptions& options) {
  StopSignals signals;
  RealClock clock;
  Logger logger({.format = options.log_format, .level = options.log_level, .component = "router"});
  BATON_ASSIGN_OR_RETURN(LoadedModel model, LoadModel(options));
  BATON_ASSIGN_OR_RETURN(const std::unique_ptr<RoutingPolicy> policy,
                         MakeRoutingPolicy(options.policy, MakeRandomEngine()()));
  MetricRegistry metrics({{"role", "router"}, {"model", model.info.name}});
  Mailbox mailbox(clock);
  rpc::ChannelPool channels;
  Router router(MakeConfig(options, model.info), clock, mailbox, logger, model.codec.get(), *policy,
                metrics, {rpc::PrefillOpener(channels), rpc::DecodeOpener(channels)});
  const auto inference = MakeInferenceService(router, mailbox);
  const auto registry = rpc::MakeRegistryService(router.RegisterAcceptor());
  BATON_ASSIGN_OR_RETURN(
      const auto server,
      rpc::RpcServer::Create({.listen = options.listen, .reflection = options.reflection},
                             {inference.get(), registry.get()}));
  std::unique_ptr<PrometheusExporter> exporter;
  if (!options.metrics_listen.empty()) {
    BATON_ASSIGN_OR_RETURN(exporter, PrometheusExporter::Create(options.metrics_listen, metrics));
  }
  const int metrics_port = exporter == nullptr ? 0 : exporter->port();
  BATON_RETURN_IF_ERROR(WritePorts(options.port_file, server->port(), metrics_port));
  logger.Info("serving", {{"model", model.info.name},
                          {"port", server->port()},
                          {"metrics_port", metrics_port},
                          {"policy", options.policy}});
  RouterLoop(router, *server, signals, mailbox, clock, logger, options.drain_timeout).Run();
  router.Close();
  server->Shutdown(clock.Now() + kCloseTime);
  logger.Info("stopped", {});
  return absl::OkStatus();
}

}  // namespace baton
