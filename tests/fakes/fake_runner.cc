#include "tests/fakes/fake_runner.h"

#include <array>
#include <cmath>
#include <cstring>
#include <utility>

#include "common/base/check.h"
#include "kernels/kv_pack/kv_pack.h"
#include "kernels/kv_page/kv_codec.h"

namespace baton {
namespace {

using kernels::KvGeometry;
using kernels::KvTensor;
using kernels::Mix64;

constexpr KvTensor kTensors[] = {KvTensor::kKey, KvTensor::kValue};
constexpr int kSymbolBits = 2;  // 0 to 3 is exact in every format down to e5m2

// The symbols of one group; dimension d holds bits 2 (d mod 32) and up.
uint64_t GroupBits(int32_t token, int position, int layer, KvTensor tensor, int head,
                   int head_dim) {
  uint64_t bits = Mix64(static_cast<uint64_t>(token) + 1);
  bits = Mix64(bits ^ static_cast<uint64_t>(position));
  bits = Mix64(bits ^ (static_cast<uint64_t>(layer) << 32 | static_cast<uint64_t>(head) << 1 |
                       static_cast<uint64_t>(tensor)));
  return head_dim < 32 ? bits & ((uint64_t{1} << (kSymbolBits * head_dim)) - 1) : bits;
}

void ToValues(uint64_t bits, int head_dim, float* values) {
  for (int d = 0; d < head_dim; ++d) {
    values[d] = static_cast<float>(bits >> (kSymbolBits * (d % 32)) & 3);
  }
}

// The inverse; a value that no symbol has spoils the bits.
uint64_t FromValues(const float* values, int head_dim) {
  uint64_t bits = 0;
  for (int d = 0; d < head_dim; ++d) {
    const float rounded = std::nearbyint(values[d]);
    if (!(rounded >= 0 && rounded <= 3)) return Mix64(bits ^ 0xBAD);
    const uint64_t symbol = static_cast<uint64_t>(rounded);
    const int shift = kSymbolBits * (d % 32);
    if (d < 32) {
      bits |= symbol << shift;
    } else if ((bits >> shift & 3) != symbol) {
      return Mix64(bits ^ 0xBAD);
    }
  }
  return bits;
}

// Calls visit(layer, tensor, head) for every group of a token.
template <typename Visit>
void ForEachGroup(const KvGeometry& geometry, Visit visit) {
  for (int layer = 0; layer < geometry.layers; ++layer) {
    for (KvTensor tensor : kTensors) {
      for (int head = 0; head < geometry.kv_heads; ++head) visit(layer, tensor, head);
    }
  }
}

uint64_t Fold(uint64_t hash, uint64_t bits) { return Mix64(hash * 3 + bits); }

int32_t TokenOf(uint64_t hash, const SamplingParams& sampling, int vocab_size) {
  if (sampling.temperature > 0) hash = Fold(hash, sampling.seed);
  return static_cast<int32_t>(hash % static_cast<uint64_t>(vocab_size));
}

}  // namespace

FakeRunner::FakeRunner(Config config)
    : config_(config),
      pages_{config.geometry, config.resident, config.page_tokens, config.page_count},
      layout_(config.geometry, config.resident, config.page_tokens),
      pool_(layout_.page_bytes() * config.page_count) {}

absl::StatusOr<StepResult> FakeRunner::Run(const Batch& batch) {
  if (absl::Status failure = TakeFailure(); !failure.ok()) return failure;
  BATON_CHECK(!batch.entries.empty());
  const kernels::PagedKv paged{pool_.data(), layout_};
  std::array<float, kernels::KvPageLayout::kMaxHeadDim> values;
  const int head_dim = config_.geometry.head_dim;
  for (const BatchEntry& entry : batch.entries) {
    const int count = static_cast<int>(entry.tokens.size());
    BATON_CHECK(count >= 1);
    BATON_CHECK(static_cast<int>(entry.pages.size()) * config_.page_tokens >=
                entry.first_position + count);
    for (int i = 0; i < count; ++i) {
      const int position = entry.first_position + i;
      const int32_t page_id = entry.pages[position / config_.page_tokens];
      BATON_CHECK(page_id >= 0 && page_id < config_.page_count);
      std::byte* page = paged.Page(page_id);
      const int slot = position % config_.page_tokens;
      ForEachGroup(config_.geometry, [&](int layer, KvTensor tensor, int head) {
        ToValues(GroupBits(entry.tokens[i], position, layer, tensor, head, head_dim), head_dim,
                 values.data());
        kernels::EncodeKvGroup(layout_.format(tensor), values.data(), head_dim,
                               page + layout_.CodeOffset(layer, tensor, head, slot),
                               page + layout_.ScaleOffset(layer, tensor, head, slot));
      });
    }
    computed_tokens_ += count;
  }
  // All writes come before all reads: entries that share a page they write spoil each other.
  StepResult result;
  for (const BatchEntry& entry : batch.entries) {
    result.sampled.push_back(entry.sample ? std::optional(Sample(entry)) : std::nullopt);
  }
  return result;
}

absl::StatusOr<uint64_t> FakeRunner::Pack(const KvBlock& block, kernels::KvFormats wire,
                                          std::span<std::byte> payload) {
  if (absl::Status failure = TakeFailure(); !failure.ok()) return failure;
  kernels::PackParams params;
  params.source = {pool_.data(), layout_};
  params.pages = block.pages.data();
  params.range = {static_cast<uint32_t>(block.first_layer), static_cast<uint32_t>(block.end_layer),
                  static_cast<uint32_t>(block.first_head),  static_cast<uint32_t>(block.end_head),
                  static_cast<uint32_t>(block.first_token), static_cast<uint32_t>(block.end_token)};
  params.layout = kernels::SlabLayout::Make(params.range, wire, config_.geometry.head_dim).value();
  params.payload = payload.data();
  BATON_CHECK(payload.size() == params.layout.payload_bytes());
  return kernels::PackReference(params);
}

absl::StatusOr<uint64_t> FakeRunner::Scatter(const KvBlock& block, kernels::KvFormats wire,
                                             std::span<const std::byte> payload) {
  if (absl::Status failure = TakeFailure(); !failure.ok()) return failure;
  kernels::ScatterParams params;
  params.payload = payload.data();
  params.range = {static_cast<uint32_t>(block.first_layer), static_cast<uint32_t>(block.end_layer),
                  static_cast<uint32_t>(block.first_head),  static_cast<uint32_t>(block.end_head),
                  static_cast<uint32_t>(block.first_token), static_cast<uint32_t>(block.end_token)};
  params.layout = kernels::SlabLayout::Make(params.range, wire, config_.geometry.head_dim).value();
  params.target = {pool_.data(), layout_};
  params.pages = block.pages.data();
  BATON_CHECK(payload.size() == params.layout.payload_bytes());
  return kernels::ScatterReference(params);
}

int32_t FakeRunner::NextToken(const Config& config, std::span<const int32_t> tokens,
                              const SamplingParams& sampling) {
  uint64_t hash = 0;
  for (size_t position = 0; position < tokens.size(); ++position) {
    ForEachGroup(config.geometry, [&](int layer, KvTensor tensor, int head) {
      hash = Fold(hash, GroupBits(tokens[position], static_cast<int>(position), layer, tensor, head,
                                  config.geometry.head_dim));
    });
  }
  return TokenOf(hash, sampling, config.vocab_size);
}

std::vector<int32_t> FakeRunner::Generate(const Config& config, std::span<const int32_t> prompt,
                                          const SamplingParams& sampling, int count) {
  std::vector<int32_t> tokens(prompt.begin(), prompt.end());
  for (int i = 0; i < count; ++i) tokens.push_back(NextToken(config, tokens, sampling));
  return tokens;
}

void FakeRunner::Scribble(int32_t page) {
  std::memset(pool_.data() + static_cast<size_t>(page) * layout_.page_bytes(), 0x3C,
              layout_.page_bytes());
}

uint64_t FakeRunner::HashPages(std::span<const int32_t> pages, int tokens) const {
  std::array<float, kernels::KvPageLayout::kMaxHeadDim> values;
  const int head_dim = config_.geometry.head_dim;
  uint64_t hash = 0;
  for (int position = 0; position < tokens; ++position) {
    const size_t page = static_cast<size_t>(pages[position / config_.page_tokens]);
    const std::byte* bytes = pool_.data() + page * layout_.page_bytes();
    const int slot = position % config_.page_tokens;
    ForEachGroup(config_.geometry, [&](int layer, KvTensor tensor, int head) {
      kernels::DecodeKvGroup(
          layout_.format(tensor), bytes + layout_.CodeOffset(layer, tensor, head, slot),
          bytes + layout_.ScaleOffset(layer, tensor, head, slot), head_dim, values.data());
      hash = Fold(hash, FromValues(values.data(), head_dim));
    });
  }
  return hash;
}

SampledToken FakeRunner::Sample(const BatchEntry& entry) const {
  const int tokens = entry.first_position + static_cast<int>(entry.tokens.size());
  const uint64_t hash = HashPages(entry.pages, tokens);
  SampledToken sampled;
  sampled.token = TokenOf(hash, entry.sampling, config_.vocab_size);
  sampled.logprob = -0.25f - static_cast<float>(sampled.token % 64) / 64.0f;
  for (int i = 0; i < entry.sampling.top_logprobs; ++i) {
    sampled.top.push_back(
        {(sampled.token + i) % config_.vocab_size, sampled.logprob - static_cast<float>(i)});
  }
  return sampled;
}

absl::Status FakeRunner::TakeFailure() {
  return std::exchange(failure_, std::nullopt).value_or(absl::OkStatus());
}

}  // namespace baton
