#include "common/runner/cpu/cpu_runner.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <numeric>

#include "common/base/status.h"
#include "kernels/kv_pack/slab.h"
#include "tests/common/runner/cpu/golden.h"

namespace baton {
namespace {

using kernels::KvFormat;
using kernels::KvFormats;
using ::testing::HasSubstr;

constexpr KvFormats kFp16Kv = {KvFormat::kFp16, KvFormat::kFp16};
constexpr KvFormats kInt8Kv = {KvFormat::kInt8, KvFormat::kInt8};

std::shared_ptr<const CpuModel> Tiny() {
  return test::LoadModel(BATON_TINY_MODEL, WeightFormat::kAuto);
}

std::vector<int32_t> Prompt(int count) {
  std::vector<int32_t> tokens(static_cast<size_t>(count));
  for (size_t i = 0; i < tokens.size(); ++i) tokens[i] = static_cast<int32_t>(i * 97 % 4096);
  return tokens;
}

SampledToken RunOne(CpuRunner& runner, std::span<const int32_t> tokens, int first,
                    std::span<const int32_t> pages, const SamplingParams& sampling) {
  Batch batch;
  batch.entries.push_back({.tokens = tokens,
                           .first_position = first,
                           .pages = pages,
                           .sample = true,
                           .sampling = sampling});
  const auto result = runner.Run(batch);
  EXPECT_TRUE(result.ok()) << ToString(result.status());
  return *result->sampled[0];
}

TEST(CpuRunner, RefusesAConfigurationOutOfRange) {
  const auto model = Tiny();
  const auto status = [&](CpuRunnerConfig config) {
    return CpuRunner::Create(model, config).status();
  };
  EXPECT_EQ(status({.page_tokens = 24, .page_count = 1}).code(),
            absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(ToString(status({.page_tokens = 24, .page_count = 1})), HasSubstr("24"));
  EXPECT_THAT(ToString(status({.page_tokens = 16, .page_count = 0})), HasSubstr("page_count: 0"));
  EXPECT_THAT(ToString(status({.page_tokens = 16, .page_count = 1, .threads = 0})),
              HasSubstr("threads: 0"));
}

TEST(CpuRunner, DescribesItsPages) {
  const auto runner = test::MakeRunner(Tiny(), kInt8Kv, 32, 5);
  EXPECT_EQ(runner->kv().geometry, (kernels::KvGeometry{6, 2, 64}));
  EXPECT_EQ(runner->kv().resident, kInt8Kv);
  EXPECT_EQ(runner->kv().page_tokens, 32);
  EXPECT_EQ(runner->kv().page_count, 5);
}

TEST(CpuRunner, SamplesWhereAskedOnly) {
  const auto runner = test::MakeRunner(Tiny(), kFp16Kv, 16, 4, 2);
  const std::vector<int32_t> tokens = Prompt(10);
  const std::vector<int32_t> first = {0};
  const std::vector<int32_t> second = {1};
  Batch batch;
  batch.entries.push_back({.tokens = tokens, .pages = first});
  auto result = runner->Run(batch);
  ASSERT_TRUE(result.ok());
  ASSERT_EQ(result->sampled.size(), 1u);
  EXPECT_FALSE(result->sampled[0].has_value());
  batch.entries.push_back({.tokens = tokens, .pages = second, .sample = true});
  result = runner->Run(batch);
  ASSERT_TRUE(result.ok());
  EXPECT_FALSE(result->sampled[0].has_value());
  ASSERT_TRUE(result->sampled[1].has_value());
  EXPECT_TRUE(result->sampled[1]->top.empty());
}

TEST(CpuRunner, ReportsLogProbabilities) {
  const auto runner = test::MakeRunner(Tiny(), kFp16Kv, 16, 4);
  const std::vector<int32_t> tokens = Prompt(10);
  const std::vector<int32_t> pages = {2};
  const SampledToken token = RunOne(*runner, tokens, 0, pages,
                                    {.temperature = 0, .want_logprob = true, .top_logprobs = 3});
  ASSERT_EQ(token.top.size(), 3u);
  EXPECT_EQ(token.top[0].token, token.token);
  EXPECT_EQ(token.top[0].logprob, token.logprob);
  EXPECT_GE(token.top[0].logprob, token.top[1].logprob);
  EXPECT_LT(token.logprob, 0.0f);
}

TEST(CpuRunner, SampledTokenFollowsSeedAndPositionOnly) {
  const auto model = Tiny();
  const auto one = test::MakeRunner(model, kFp16Kv, 16, 8);
  const auto other = test::MakeRunner(model, kFp16Kv, 64, 8, 2);
  const std::vector<int32_t> tokens = Prompt(30);
  const std::vector<int32_t> pages = {3, 1};
  const std::vector<int32_t> others = {4, 5};
  int differing_seeds = 0;
  int32_t last = -1;
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const SamplingParams sampling{.temperature = 1.0f, .top_p = 0.95f, .seed = seed};
    const int32_t expected = RunOne(*one, tokens, 0, pages, sampling).token;
    Batch batch;
    batch.entries.push_back({.tokens = tokens,
                             .pages = others,
                             .sample = true,
                             .sampling = {.temperature = 0.7f, .seed = seed + 100}});
    batch.entries.push_back(
        {.tokens = tokens, .pages = pages, .sample = true, .sampling = sampling});
    const auto result = other->Run(batch);
    ASSERT_TRUE(result.ok());
    EXPECT_EQ(result->sampled[1]->token, expected) << "seed " << seed;
    differing_seeds += expected != last;
    last = expected;
  }
  EXPECT_GT(differing_seeds, 5);
}

// Prefill on one runner, hand-over by slabs in the given wire format, decode on another.
std::vector<int32_t> HandOver(const std::shared_ptr<const CpuModel>& model, KvFormats prefill_kv,
                              KvFormats wire, KvFormats decode_kv, int count) {
  const auto prefill = test::MakeRunner(model, prefill_kv, 16, 8);
  const auto decode = test::MakeRunner(model, decode_kv, 64, 4);
  const std::vector<int32_t> tokens = Prompt(50);
  const std::vector<int32_t> source = {7, 2, 5, 0};
  const std::vector<int32_t> target = {3, 1};
  const SamplingParams greedy{.temperature = 0};
  std::vector<int32_t> generated = {RunOne(*prefill, tokens, 0, source, greedy).token};
  // One slab per layer and half of the tokens.
  for (int layer = 0; layer < model->config.layers; ++layer) {
    for (const auto& [begin, end] : {std::pair{0, 23}, std::pair{23, 50}}) {
      KvBlock block{.first_layer = layer,
                    .end_layer = layer + 1,
                    .first_head = 0,
                    .end_head = model->config.kv_heads,
                    .first_token = begin,
                    .end_token = end,
                    .pages = source};
      const auto layout =
          kernels::SlabLayout::Make({static_cast<uint32_t>(layer), static_cast<uint32_t>(layer + 1),
                                     0, static_cast<uint32_t>(model->config.kv_heads),
                                     static_cast<uint32_t>(begin), static_cast<uint32_t>(end)},
                                    wire, model->config.head_dim);
      std::vector<uint64_t> payload(layout->payload_bytes() / 8);
      const auto packed = prefill->Pack(block, wire, std::as_writable_bytes(std::span(payload)));
      block.pages = target;
      const auto scattered = decode->Scatter(block, wire, std::as_bytes(std::span(payload)));
      EXPECT_TRUE(packed.ok() && scattered.ok());
      EXPECT_EQ(*packed, *scattered);
      EXPECT_EQ(*packed, kernels::PayloadChecksum(std::as_bytes(std::span(payload))));
    }
  }
  for (int i = 0; i + 1 < count; ++i) {
    const std::vector<int32_t> token = {generated.back()};
    generated.push_back(RunOne(*decode, token, 50 + i, target, greedy).token);
  }
  return generated;
}

std::vector<int32_t> Alone(const std::shared_ptr<const CpuModel>& model, KvFormats kv, int count) {
  const auto runner = test::MakeRunner(model, kv, 16, 8);
  std::vector<int32_t> pages(8);
  std::iota(pages.begin(), pages.end(), 0);
  const SamplingParams greedy{.temperature = 0};
  std::vector<int32_t> generated = {RunOne(*runner, Prompt(50), 0, pages, greedy).token};
  for (int i = 0; i + 1 < count; ++i) {
    const std::vector<int32_t> token = {generated.back()};
    generated.push_back(RunOne(*runner, token, 50 + i, pages, greedy).token);
  }
  return generated;
}

TEST(CpuRunner, HandOverInTheResidentFormatChangesNothing) {
  const auto model = Tiny();
  for (const KvFormats kv : {kFp16Kv, kInt8Kv, KvFormats{KvFormat::kInt8, KvFormat::kInt4}}) {
    EXPECT_EQ(HandOver(model, kv, kv, kv, 20), Alone(model, kv, 20)) << KvFormatsName(kv);
  }
}

TEST(CpuRunner, HandOverMayChangeTheFormat) {
  const auto model = Tiny();
  // fp16 → int8 on the sender gives the same pages as int8 on the wire from fp16 at the receiver.
  EXPECT_EQ(HandOver(model, kFp16Kv, kInt8Kv, kInt8Kv, 20),
            HandOver(model, kFp16Kv, kFp16Kv, kInt8Kv, 20));
}

}  // namespace
}  // namespace baton
