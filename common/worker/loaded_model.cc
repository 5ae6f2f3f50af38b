#include "common/worker/loaded_model.h"

#include <algorithm>
#include <chrono>
#include <fstream>
#include <limits>
#include <string>
#include <thread>
#include <utility>

#include "common/base/status.h"
#include "common/cluster/model_probe.h"
#include "common/model/checkpoint.h"
#include "common/runner/cpu/cpu_runner.h"
#include "common/runner/cpu/thread_pool.h"
#include "common/worker/kv_contract.h"
#include "kernels/gemm/gemm.h"
#include "kernels/kv_page/layout.h"

namespace baton {
namespace {

// MemAvailable of the kernel's report; 0 when it does not say.
uint64_t AvailableMemory() {
  std::ifstream report("/proc/meminfo");
  std::string name;
  uint64_t kibibytes = 0;
  std::string unit;
  while (report >> name >> kibibytes) {
    if (name == "MemAvailable:") return kibibytes << 10;
    std::getline(report, unit);
  }
  return 0;
}

double FileGigabytes(const Checkpoint& checkpoint) {
  size_t bytes = 0;
  for (const auto& [name, view] : checkpoint.tensors()) bytes += view.bytes.size();
  return static_cast<double>(bytes) * 1e-9;
}

int ThreadsOf(const WorkerOptions& options) {
  if (options.threads > 0) return options.threads;
  return std::max(1, static_cast<int>(std::thread::hardware_concurrency()));
}

// The model's identity as its own answers show it; in fp16 KV whatever the worker's, which has
// nothing to do with it. A model too small for a probe goes without.
absl::StatusOr<v1::ModelProbe> Probe(std::shared_ptr<const CpuModel> model, int threads,
                                     Logger& logger) {
  constexpr int kPageTokens = 16;
  const int vocab_size = model->config.vocab_size;
  if (vocab_size < kProbeTop || model->config.max_positions < kProbeTokens) {
    logger.Warning("model.no_probe",
                   {{"vocab_size", vocab_size}, {"max_positions", model->config.max_positions}});
    return v1::ModelProbe();
  }
  BATON_ASSIGN_OR_RETURN(
      const auto runner,
      CpuRunner::Create(std::move(model), {.page_tokens = kPageTokens,
                                           .page_count = kProbeTokens / kPageTokens,
                                           .threads = threads}));
  return TakeProbe(*runner, vocab_size);
}

}  // namespace

absl::StatusOr<int> CountPages(const WorkerOptions& options, uint64_t page_bytes) {
  uint64_t bytes = options.kv_bytes;
  if (options.kv_memory_share > 0) {
    bytes = static_cast<uint64_t>(static_cast<double>(AvailableMemory()) * options.kv_memory_share);
  }
  const uint64_t pages =
      std::min<uint64_t>(bytes / page_bytes, std::numeric_limits<int32_t>::max());
  if (pages < 1) {
    return ResourceExhausted("KV memory: {} bytes, expected at least one page of {}", bytes,
                             page_bytes);
  }
  return static_cast<int>(pages);
}

absl::StatusOr<LoadedModel> LoadWorkerModel(const WorkerOptions& options, Logger& logger) {
  BATON_ASSIGN_OR_RETURN(const Checkpoint checkpoint,
                         Checkpoint::Open(options.model, {.accept_quantized = true}));
  BATON_ASSIGN_OR_RETURN(const ModelDigests digests, ReadModelDigests(checkpoint, options.model));
  const ModelConfig& config = checkpoint.config();
  const int threads = ThreadsOf(options);
  std::shared_ptr<const CpuModel> model;
  const auto start = std::chrono::steady_clock::now();
  {
    ThreadPool pool(threads);
    const LoadOptions load{.format = options.weights, .note = [&logger](std::string_view note) {
                             logger.Info("model.note", {{"note", note}});
                           }};
    BATON_ASSIGN_OR_RETURN(model, LoadCpuModel(checkpoint, load, pool));
  }
  const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - start;
  const kernels::KvGeometry geometry{config.layers, config.kv_heads, config.head_dim};
  if (const auto wrong = kernels::KvPageLayout::Validate(geometry, options.page_tokens)) {
    return InvalidArgument("page tokens: {}", *wrong);
  }
  const kernels::KvPageLayout layout(geometry, options.kv_format, options.page_tokens);
  BATON_ASSIGN_OR_RETURN(const int pages, CountPages(options, layout.page_bytes()));
  LoadedModel loaded;
  BATON_ASSIGN_OR_RETURN(loaded.runner,
                         CpuRunner::Create(model, {.resident = options.kv_format,
                                                   .page_tokens = options.page_tokens,
                                                   .page_count = pages,
                                                   .threads = threads}));
  loaded.contract = MakeKvContract(config, loaded.runner->kv(), options, digests);
  BATON_ASSIGN_OR_RETURN(*loaded.contract.mutable_model()->mutable_probe(),
                         Probe(model, threads, logger));
  loaded.limits = {.vocab_size = config.vocab_size,
                   .max_context = static_cast<int>(std::min<int64_t>(
                       config.max_positions, int64_t{pages} * options.page_tokens)),
                   .eos_token_ids = {config.eos_tokens.begin(), config.eos_tokens.end()}};
  logger.Info("model.loaded", {{"architecture", config.architecture->name},
                               {"weights", NameOf(options.weights)},
                               {"weight_bytes", model->weight_bytes()},
                               {"load_seconds", spent.count()},
                               {"load_gb_per_second", FileGigabytes(checkpoint) / spent.count()},
                               {"kv_format", kernels::KvFormatsName(options.kv_format)},
                               {"pages", pages},
                               {"page_tokens", options.page_tokens},
                               {"threads", threads},
                               {"dispatch_target", kernels::DispatchTarget()}});
  return loaded;
}

}  // namespace baton
