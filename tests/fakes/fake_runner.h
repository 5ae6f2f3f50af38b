#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/engine/model_runner.h"
#include "kernels/kv_page/layout.h"
#include "kernels/numeric/aligned_buffer.h"

namespace baton {

// A model whose next token is a hash of the K and V it finds in its pages: a lost, stale or
// misplaced page changes the output. Pages are real (any resident format), Pack and Scatter are the
// reference kernels.
//
// K and V of a token follow from its id and position alone, as small whole numbers that survive
// every format and conversion, so that workers of different formats agree and NextToken can predict
// the output without pages.
class FakeRunner : public ModelRunner {
 public:
  struct Config {
    kernels::KvGeometry geometry{2, 2, 16};
    kernels::KvFormats resident{kernels::KvFormat::kFp16, kernels::KvFormat::kFp16};
    int page_tokens = 16;
    int page_count = 64;
    int vocab_size = 1000;
  };
  explicit FakeRunner(Config config);

  const KvPages& kv() const override { return pages_; }
  absl::StatusOr<StepResult> Run(const Batch& batch) override;
  absl::StatusOr<uint64_t> Pack(const KvBlock& block, kernels::KvFormats wire,
                                std::span<std::byte> payload) override;
  absl::StatusOr<uint64_t> Scatter(const KvBlock& block, kernels::KvFormats wire,
                                   std::span<const std::byte> payload) override;

  // The token that follows `tokens` in an undisturbed model of this geometry and vocabulary.
  static int32_t NextToken(const Config& config, std::span<const int32_t> tokens,
                           const SamplingParams& sampling);
  // Prompt and the first `count` tokens that follow it.
  static std::vector<int32_t> Generate(const Config& config, std::span<const int32_t> prompt,
                                       const SamplingParams& sampling, int count);

  // The next Run, Pack or Scatter fails with this status.
  void FailNext(absl::Status status) { failure_ = std::move(status); }
  // Overwrites a page, as a stray write would.
  void Scribble(int32_t page);
  int64_t computed_tokens() const { return computed_tokens_; }

 private:
  uint64_t HashPages(std::span<const int32_t> pages, int tokens) const;
  SampledToken Sample(const BatchEntry& entry) const;
  absl::Status TakeFailure();

  const Config config_;
  const KvPages pages_;
  const kernels::KvPageLayout layout_;
  kernels::AlignedBuffer<std::byte> pool_;
  std::optional<absl::Status> failure_;
  int64_t computed_tokens_ = 0;
};

}  // namespace baton
