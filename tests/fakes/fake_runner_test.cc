#include "tests/fakes/fake_runner.h"

#include <gtest/gtest.h>

#include <vector>

#include "kernels/kv_pack/slab.h"

namespace baton {
namespace {

using kernels::KvFormat;
using kernels::KvFormats;

SamplingParams Greedy() {
  SamplingParams sampling;
  sampling.temperature = 0;
  return sampling;
}

int32_t Decode(FakeRunner& runner, const std::vector<int32_t>& tokens,
               const std::vector<int32_t>& pages, int first) {
  Batch batch;
  batch.entries.push_back(
      {std::span(tokens).subspan(static_cast<size_t>(first)), first, pages, true, Greedy()});
  return runner.Run(batch)->sampled[0]->token;
}

const std::vector<int32_t> kTokens = {4, 8, 15, 16, 23, 42, 4, 8, 15, 16, 23, 42,
                                      1, 2, 3,  4,  5,  6,  7, 8, 9,  10, 11, 12};

class FakeRunnerFormatTest : public ::testing::TestWithParam<KvFormats> {};

TEST_P(FakeRunnerFormatTest, HandOverThroughAnyFormatPredictsTheSameToken) {
  FakeRunner::Config config;
  config.resident = GetParam();
  FakeRunner prefill(config);
  const std::vector<int32_t> source = {3, 1}, target = {7, 5};
  const int32_t expected = FakeRunner::NextToken(config, kTokens, Greedy());
  EXPECT_EQ(Decode(prefill, kTokens, source, 0), expected);

  for (const KvFormats wire :
       {KvFormats{KvFormat::kFp16, KvFormat::kFp16}, KvFormats{KvFormat::kInt8, KvFormat::kInt4},
        KvFormats{KvFormat::kFp8E4m3, KvFormat::kFp8E5m2}}) {
    FakeRunner decode(config);
    const KvBlock from{0, 2, 0, 2, 0, 24, source};
    const auto layout = kernels::SlabLayout::Make({0, 2, 0, 2, 0, 24}, wire, 16);
    kernels::AlignedBuffer<std::byte> payload(layout->payload_bytes());
    const auto packed = prefill.Pack(from, wire, payload.span());
    const KvBlock to{0, 2, 0, 2, 0, 24, target};
    EXPECT_EQ(*decode.Scatter(to, wire, payload.span()), *packed);
    std::vector<int32_t> next = kTokens;
    next.push_back(expected);
    EXPECT_EQ(Decode(decode, next, target, 24), FakeRunner::NextToken(config, next, Greedy()))
        << kernels::KvFormatsName(wire);
  }
}

INSTANTIATE_TEST_SUITE_P(Formats, FakeRunnerFormatTest,
                         ::testing::Values(KvFormats{KvFormat::kFp16, KvFormat::kFp16},
                                           KvFormats{KvFormat::kBf16, KvFormat::kBf16},
                                           KvFormats{KvFormat::kInt8, KvFormat::kInt8},
                                           KvFormats{KvFormat::kInt4, KvFormat::kInt4},
                                           KvFormats{KvFormat::kInt8, KvFormat::kInt4},
                                           KvFormats{KvFormat::kFp8E4m3, KvFormat::kFp8E4m3},
                                           KvFormats{KvFormat::kFp8E5m2, KvFormat::kFp8E5m2}));

TEST(FakeRunnerTest, LostStaleOrMisplacedPagesChangeTheToken) {
  FakeRunner::Config config;
  FakeRunner runner(config);
  const std::vector<int32_t> pages = {2, 9};
  const int32_t right = Decode(runner, kTokens, pages, 0);
  std::vector<int32_t> next = kTokens;
  next.push_back(right);
  const int32_t expected = FakeRunner::NextToken(config, next, Greedy());
  EXPECT_EQ(Decode(runner, next, pages, 24), expected);
  EXPECT_NE(Decode(runner, next, {9, 2}, 24), expected);   // misplaced
  EXPECT_NE(Decode(runner, next, {2, 30}, 24), expected);  // never written
  runner.Scribble(2);
  EXPECT_NE(Decode(runner, next, pages, 24), expected);
}

TEST(FakeRunnerTest, SeedMattersWhenSampling) {
  FakeRunner::Config config;
  SamplingParams a, b;
  a.seed = 1;
  b.seed = 2;
  EXPECT_NE(FakeRunner::Generate(config, kTokens, a, 8),
            FakeRunner::Generate(config, kTokens, b, 8));
  EXPECT_EQ(FakeRunner::Generate(config, kTokens, a, 8),
            FakeRunner::Generate(config, kTokens, a, 8));
}

}  // namespace
}  // namespace baton
