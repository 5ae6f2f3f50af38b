#include "common/runner/cpu/forward_pass.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstring>
#include <numeric>
#include <random>

#include "tests/common/runner/cpu/golden.h"

namespace baton {
namespace {

using kernels::KvFormat;
using kernels::KvFormats;

constexpr uint32_t kSeed = 99;

// A model's forward pass with pages of its own; sequences take disjoint ranges of pages.
class Engine {
 public:
  Engine(std::shared_ptr<const CpuModel> model, KvFormats kv, int page_tokens, int threads)
      : model_(std::move(model)), pool_(threads), forward_(*model_, pool_) {
    layout_ = kernels::KvPageLayout({.layers = model_->config.layers,
                                     .kv_heads = model_->config.kv_heads,
                                     .head_dim = model_->config.head_dim},
                                    kv, page_tokens);
    memory_ = kernels::AlignedBuffer<std::byte>(layout_.page_bytes() * kPages);
    // What an earlier owner of the pages left there must not matter.
    std::memset(memory_.data(), 0xFF, memory_.size());
  }

  std::vector<int32_t> Pages(int first, int tokens) const {
    std::vector<int32_t> pages(
        static_cast<size_t>((tokens + layout_.page_tokens() - 1) / layout_.page_tokens()));
    std::iota(pages.rbegin(), pages.rend(), first);
    return pages;
  }

  std::vector<float> Run(const Batch& batch) {
    const auto logits = forward_.Run(batch, {memory_.data(), layout_}, LogitRows::kEvery);
    return {logits.begin(), logits.end()};
  }

 private:
  static constexpr size_t kPages = 64;
  std::shared_ptr<const CpuModel> model_;
  ThreadPool pool_;
  ForwardPass forward_;
  kernels::KvPageLayout layout_;
  kernels::AlignedBuffer<std::byte> memory_;
};

std::vector<int32_t> RandomTokens(int count, uint32_t seed) {
  std::mt19937 rng(seed);
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (int32_t& token : tokens) token = static_cast<int32_t>(rng() % 4096);
  return tokens;
}

// Logits of every token of `tokens`, computed in chunks of the given sizes (the last repeats).
std::vector<float> InChunks(Engine& engine, const std::vector<int32_t>& tokens,
                            const std::vector<int>& chunks) {
  const std::vector<int32_t> pages = engine.Pages(0, static_cast<int>(tokens.size()));
  std::vector<float> logits;
  size_t at = 0;
  for (size_t i = 0; at < tokens.size(); ++i) {
    const auto wanted = static_cast<size_t>(chunks[std::min(i, chunks.size() - 1)]);
    const size_t count = std::min(wanted, tokens.size() - at);
    Batch batch;
    batch.entries.push_back({.tokens = std::span(tokens).subspan(at, count),
                             .first_position = static_cast<int>(at),
                             .pages = pages});
    const std::vector<float> chunk = engine.Run(batch);
    logits.insert(logits.end(), chunk.begin(), chunk.end());
    at += count;
  }
  return logits;
}

// The same tokens beside two other sequences: first a whole chunk, then token by token.
std::vector<float> InCompany(Engine& engine, const std::vector<int32_t>& tokens, size_t first) {
  const std::vector<int32_t> other = RandomTokens(200, kSeed + 1);
  const std::vector<int32_t> pages = engine.Pages(3, static_cast<int>(tokens.size()));
  const std::vector<int32_t> other_pages = engine.Pages(20, 200);
  std::vector<float> logits;
  size_t at = 0;
  size_t other_at = 0;
  while (at < tokens.size()) {
    const size_t count = at == 0 ? first : 1;
    const size_t other_count = other_at == 0 ? 37 : 1;
    Batch batch;
    batch.entries.push_back({.tokens = std::span(other).subspan(other_at, other_count),
                             .first_position = static_cast<int>(other_at),
                             .pages = other_pages});
    batch.entries.push_back({.tokens = std::span(tokens).subspan(at, count),
                             .first_position = static_cast<int>(at),
                             .pages = pages});
    const std::vector<float> all = engine.Run(batch);
    const size_t vocabulary = all.size() / (count + other_count);
    logits.insert(logits.end(), all.begin() + static_cast<long>(other_count * vocabulary),
                  all.end());
    at += count;
    other_at += other_count;
  }
  return logits;
}

void ExpectSameBits(const std::vector<float>& a, const std::vector<float>& b, const char* what) {
  ASSERT_EQ(a.size(), b.size()) << what;
  EXPECT_EQ(std::memcmp(a.data(), b.data(), a.size() * sizeof(float)), 0) << what;
}

struct IdentityCase {
  WeightFormat weights;
  KvFormats kv;
};

class BitIdentity : public ::testing::TestWithParam<IdentityCase> {};

TEST_P(BitIdentity, WhateverBatchChunkPageAndThreads) {
  SCOPED_TRACE(fmt::format("seed {}", kSeed));
  const IdentityCase& c = GetParam();
  const auto model = test::LoadModel(BATON_TINY_MODEL, c.weights);
  const std::vector<int32_t> tokens = RandomTokens(101, kSeed);
  Engine reference_engine(model, c.kv, 16, 1);
  const std::vector<float> reference = InChunks(reference_engine, tokens, {101});
  ASSERT_EQ(reference.size(), 101u * 4096);
  ExpectSameBits(InChunks(reference_engine, tokens, {1}), reference, "token by token");
  ExpectSameBits(InChunks(reference_engine, tokens, {17, 16, 31, 5}), reference, "odd chunks");
  ExpectSameBits(InCompany(reference_engine, tokens, 50), reference, "beside others");
  Engine other_engine(model, c.kv, 64, 3);
  ExpectSameBits(InChunks(other_engine, tokens, {101}), reference, "page 64, 3 threads");
  ExpectSameBits(InCompany(other_engine, tokens, 33), reference, "page 64, 3 threads, others");
}

std::string CaseName(const ::testing::TestParamInfo<IdentityCase>& info) {
  std::string name =
      std::string(NameOf(info.param.weights)) + "_" + kernels::KvFormatsName(info.param.kv);
  return name;
}

INSTANTIATE_TEST_SUITE_P(
    Formats, BitIdentity,
    ::testing::Values(IdentityCase{WeightFormat::kFp32, {KvFormat::kFp16, KvFormat::kFp16}},
                      IdentityCase{WeightFormat::kFp16, {KvFormat::kBf16, KvFormat::kBf16}},
                      IdentityCase{WeightFormat::kAuto, {KvFormat::kFp8E4m3, KvFormat::kFp8E4m3}},
                      IdentityCase{WeightFormat::kW8A8, {KvFormat::kInt8, KvFormat::kInt8}},
                      IdentityCase{WeightFormat::kW4A16, {KvFormat::kInt4, KvFormat::kInt4}},
                      IdentityCase{WeightFormat::kW4A8, {KvFormat::kInt8, KvFormat::kInt4}}),
    CaseName);

TEST(ForwardPass, SampledRowsAreRowsOfEvery) {
  const auto model = test::LoadModel(BATON_TINY_MODEL, WeightFormat::kW8A8);
  const std::vector<int32_t> tokens = RandomTokens(40, kSeed);
  ThreadPool pool(2);
  ForwardPass forward(*model, pool);
  const kernels::KvPageLayout layout({.layers = model->config.layers,
                                      .kv_heads = model->config.kv_heads,
                                      .head_dim = model->config.head_dim},
                                     {KvFormat::kFp16, KvFormat::kFp16}, 16);
  kernels::AlignedBuffer<std::byte> memory(layout.page_bytes() * 8);
  const std::vector<int32_t> first_pages = {5, 1};
  const std::vector<int32_t> second_pages = {0, 3};
  const std::vector<int32_t> third_pages = {7};
  Batch batch;
  batch.entries.push_back(
      {.tokens = std::span(tokens).first(20), .pages = first_pages, .sample = true});
  batch.entries.push_back({.tokens = std::span(tokens).subspan(20, 17), .pages = second_pages});
  batch.entries.push_back(
      {.tokens = std::span(tokens).subspan(37, 3), .pages = third_pages, .sample = true});
  const auto every = forward.Run(batch, {memory.data(), layout}, LogitRows::kEvery);
  const std::vector<float> all(every.begin(), every.end());
  const auto sampled = forward.Run(batch, {memory.data(), layout}, LogitRows::kSampled);
  ASSERT_EQ(sampled.size(), 2u * 4096);
  EXPECT_EQ(std::memcmp(sampled.data(), all.data() + 19 * 4096, 4096 * sizeof(float)), 0);
  EXPECT_EQ(std::memcmp(sampled.data() + 4096, all.data() + 39 * 4096, 4096 * sizeof(float)), 0);
  for (BatchEntry& entry : batch.entries) entry.sample = false;
  EXPECT_TRUE(forward.Run(batch, {memory.data(), layout}, LogitRows::kSampled).empty());
}

}  // namespace
}  // namespace baton
