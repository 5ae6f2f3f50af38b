#pragma once

#include <cstddef>
#include <memory>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/engine/model_runner.h"
#include "common/runner/cpu/cpu_model.h"
#include "common/runner/cpu/forward_pass.h"
#include "common/runner/cpu/thread_pool.h"
#include "kernels/numeric/aligned_buffer.h"
#include "kernels/sampling/sampling.h"

namespace baton {

struct CpuRunnerConfig {
  kernels::KvFormats resident;
  int page_tokens = 16;  // a power of two from 16 to 128
  int page_count = 0;    // at least 1
  int threads = 1;       // of the compute lane, its caller included
};

// ModelRunner on the CPU. Owns the pages' memory and the thread pool of the compute lane; the copy
// lane (Pack, Scatter) runs on its caller's thread alone.
class CpuRunner : public ModelRunner {
 public:
  // INVALID_ARGUMENT for a configuration out of range, RESOURCE_EXHAUSTED when the pages do not
  // fit into memory.
  static absl::StatusOr<std::unique_ptr<CpuRunner>> Create(std::shared_ptr<const CpuModel> model,
                                                           const CpuRunnerConfig& config);

  const KvPages& kv() const override { return kv_; }
  absl::StatusOr<StepResult> Run(const Batch& batch) override;
  absl::StatusOr<uint64_t> Pack(const KvBlock& block, kernels::KvFormats wire,
                                std::span<std::byte> payload) override;
  absl::StatusOr<uint64_t> Scatter(const KvBlock& block, kernels::KvFormats wire,
                                   std::span<const std::byte> payload) override;

  // Log-probability of each token of `tokens` from the second on given those before it, computed
  // as one chunk of a sequence in `pages`: for tests and measurements. Same threading as Run.
  absl::StatusOr<std::vector<float>> Score(std::span<const int32_t> tokens,
                                           std::span<const int32_t> pages);

  // Computes one chunk and returns its logits, [rows][vocab_size], valid until the next call that
  // computes: of every token, or of the last one where `entry.sample`. For measurements. Same
  // threading as Run.
  std::span<const float> Logits(const BatchEntry& entry, LogitRows wanted);

 private:
  CpuRunner(std::shared_ptr<const CpuModel> model, const CpuRunnerConfig& config,
            const kernels::KvPageLayout& layout);

  SampledToken Sample(const BatchEntry& entry, std::span<const float> logits,
                      kernels::Sampler& sampler) const;

  const std::shared_ptr<const CpuModel> model_;
  const KvPages kv_;
  kernels::AlignedBuffer<std::byte> memory_;  // page_count pages
  const kernels::PagedKv paged_;
  ThreadPool pool_;
  ForwardPass forward_;
  std::vector<kernels::Sampler> samplers_;  // one per thread
};

}  // namespace baton
