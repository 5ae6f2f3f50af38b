#include "common/runner/cpu/cpu_runner.h"

#include <algorithm>
#include <limits>
#include <new>
#include <optional>
#include <utility>

#include "common/base/check.h"
#include "common/base/status.h"
#include "kernels/kv_pack/kv_pack.h"
#include "kernels/numeric/partition.h"

namespace baton {
namespace {

kernels::KvGeometry GeometryOf(const ModelConfig& config) {
  return {.layers = config.layers, .kv_heads = config.kv_heads, .head_dim = config.head_dim};
}

kernels::SamplingParams ToKernel(const SamplingParams& params) {
  return {.temperature = params.temperature,
          .top_k = params.top_k,
          .top_p = params.top_p,
          .min_p = params.min_p,
          .seed = params.seed};
}

kernels::LogitChanges ChangesOf(const BatchEntry& entry) {
  const SamplingParams& params = entry.sampling;
  kernels::LogitChanges changes{.repetition_penalty = params.repetition_penalty,
                                .frequency_penalty = params.frequency_penalty,
                                .presence_penalty = params.presence_penalty,
                                .history = entry.history,
                                .prompt_tokens = entry.prompt_tokens};
  if (params.logit_bias != nullptr) changes.bias = *params.logit_bias;
  return changes;
}

kernels::SlabRange RangeOf(const KvBlock& block) {
  return {.l0 = static_cast<uint32_t>(block.first_layer),
          .l1 = static_cast<uint32_t>(block.end_layer),
          .h0 = static_cast<uint32_t>(block.first_head),
          .h1 = static_cast<uint32_t>(block.end_head),
          .t0 = static_cast<uint32_t>(block.first_token),
          .t1 = static_cast<uint32_t>(block.end_token)};
}

kernels::SlabLayout LayoutOf(const KvBlock& block, kernels::KvFormats wire, int head_dim,
                             size_t payload_bytes) {
  const std::optional<kernels::SlabLayout> layout =
      kernels::SlabLayout::Make(RangeOf(block), wire, head_dim);
  BATON_CHECK(layout && layout->payload_bytes() == payload_bytes);
  return *layout;
}

}  // namespace

absl::StatusOr<std::unique_ptr<CpuRunner>> CpuRunner::Create(std::shared_ptr<const CpuModel> model,
                                                             const CpuRunnerConfig& config) {
  constexpr int kMaxThreads = 1024;
  const kernels::KvGeometry geometry = GeometryOf(model->config);
  if (const auto problem = kernels::KvPageLayout::Validate(geometry, config.page_tokens)) {
    return InvalidArgument("{}", *problem);
  }
  if (config.threads < 1 || config.threads > kMaxThreads) {
    return InvalidArgument("threads: {}, expected 1 to {}", config.threads, kMaxThreads);
  }
  if (config.page_count < 1) {
    return InvalidArgument("page_count: {}, expected at least 1", config.page_count);
  }
  const kernels::KvPageLayout layout(geometry, config.resident, config.page_tokens);
  try {
    return std::unique_ptr<CpuRunner>(new CpuRunner(std::move(model), config, layout));
  } catch (const std::bad_alloc&) {
    return ResourceExhausted("page_count: {} pages of {} bytes do not fit into memory",
                             config.page_count, layout.page_bytes());
  }
}

CpuRunner::CpuRunner(std::shared_ptr<const CpuModel> model, const CpuRunnerConfig& config,
                     const kernels::KvPageLayout& layout)
    : model_(std::move(model)),
      kv_{.geometry = layout.geometry(),
          .resident = config.resident,
          .page_tokens = config.page_tokens,
          .page_count = config.page_count},
      memory_(layout.page_bytes() * static_cast<size_t>(config.page_count)),
      paged_{.pool = memory_.data(), .layout = layout},
      pool_(config.threads),
      forward_(*model_, pool_),
      samplers_(static_cast<size_t>(config.threads)) {}

absl::StatusOr<StepResult> CpuRunner::Run(const Batch& batch) {
  StepResult result;
  result.sampled.resize(batch.entries.size());
  const std::span<const float> logits = forward_.Run(batch, paged_, LogitRows::kSampled);
  if (logits.empty()) return result;
  const auto vocabulary = static_cast<size_t>(model_->config.vocab_size);
  std::vector<size_t> sampled;
  for (size_t i = 0; i < batch.entries.size(); ++i) {
    if (batch.entries[i].sample) sampled.push_back(i);
  }
  const auto sample_share = [&](int part, int parts) {
    const kernels::Range share =
        kernels::Partition(static_cast<int64_t>(sampled.size()), part, parts);
    for (int64_t i = share.begin; i < share.end; ++i) {
      const size_t entry = sampled[static_cast<size_t>(i)];
      result.sampled[entry] = Sample(
          batch.entries[entry], logits.subspan(static_cast<size_t>(i) * vocabulary, vocabulary),
          samplers_[static_cast<size_t>(part)]);
    }
  };
  if (sampled.size() == 1) {
    sample_share(0, 1);
  } else {
    pool_.Run(sample_share);
  }
  for (const size_t entry : sampled) {
    if (result.sampled[entry]->token < 0) {
      return Internal("sampling: no logit is a number, expected finite weights");
    }
  }
  return result;
}

SampledToken CpuRunner::Sample(const BatchEntry& entry, std::span<const float> logits,
                               kernels::Sampler& sampler) const {
  const SamplingParams& params = entry.sampling;
  SampledToken sampled;
  const bool plain = !params.penalizes() && params.logit_bias == nullptr;
  const std::span<const float> changed = plain ? logits : sampler.Change(logits, ChangesOf(entry));
  if (params.temperature == 0.0f) {
    sampled.token = kernels::SampleGreedy(changed);
  } else {
    const uint64_t position = static_cast<uint64_t>(entry.first_position) + entry.tokens.size();
    sampled.token = sampler.Sample(changed, ToKernel(params), position);
  }
  if (sampled.token < 0 || (!params.want_logprob && params.top_logprobs == 0)) return sampled;
  const kernels::LogprobResult probabilities =
      kernels::TokenLogprobs(logits, sampled.token, params.top_logprobs);
  sampled.logprob = probabilities.chosen.logprob;
  for (const kernels::TokenLogprob& top : probabilities.top) {
    sampled.top.push_back({.token = top.token, .logprob = top.logprob});
  }
  return sampled;
}

absl::StatusOr<uint64_t> CpuRunner::Pack(const KvBlock& block, kernels::KvFormats wire,
                                         std::span<std::byte> payload) {
  return kernels::PackCpu({.source = paged_,
                           .pages = block.pages.data(),
                           .range = RangeOf(block),
                           .layout = LayoutOf(block, wire, kv_.geometry.head_dim, payload.size()),
                           .payload = payload.data()},
                          0, 1);
}

absl::StatusOr<uint64_t> CpuRunner::Scatter(const KvBlock& block, kernels::KvFormats wire,
                                            std::span<const std::byte> payload) {
  return kernels::ScatterCpu(
      {.payload = payload.data(),
       .range = RangeOf(block),
       .layout = LayoutOf(block, wire, kv_.geometry.head_dim, payload.size()),
       .target = paged_,
       .pages = block.pages.data()},
      0, 1);
}

std::span<const float> CpuRunner::Logits(const BatchEntry& entry, LogitRows wanted) {
  Batch batch;
  batch.entries.push_back(entry);
  return forward_.Run(batch, paged_, wanted);
}

absl::StatusOr<std::vector<float>> CpuRunner::Score(std::span<const int32_t> tokens,
                                                    std::span<const int32_t> pages) {
  const std::span<const float> logits =
      Logits({.tokens = tokens, .pages = pages}, LogitRows::kEvery);
  const auto vocabulary = static_cast<size_t>(model_->config.vocab_size);
  std::vector<float> scores(tokens.size() - 1);
  pool_.Run([&](int part, int parts) {
    const kernels::Range share =
        kernels::Partition(static_cast<int64_t>(scores.size()), part, parts);
    for (auto i = static_cast<size_t>(share.begin); i < static_cast<size_t>(share.end); ++i) {
      scores[i] =
          kernels::TokenLogprobs(logits.subspan(i * vocabulary, vocabulary), tokens[i + 1], 0)
              .chosen.logprob;
    }
  });
  return scores;
}

}  // namespace baton
