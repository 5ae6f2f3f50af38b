#include "common/eval/evaluator.h"

#include <gtest/gtest.h>

#include <cmath>
#include <fstream>
#include <memory>
#include <numeric>
#include <random>

#include "common/base/status.h"
#include "common/eval/statistics.h"
#include "common/eval/windows.h"
#include "kernels/sampling/sampling.h"

namespace baton {
namespace {

using kernels::KvFormat;
using kernels::KvFormats;

constexpr KvFormats kFp16 = {KvFormat::kFp16, KvFormat::kFp16};
constexpr KvFormats kInt8 = {KvFormat::kInt8, KvFormat::kInt8};
constexpr KvFormats kInt4 = {KvFormat::kInt4, KvFormat::kInt4};
constexpr int kWindow = 48;

RoleSpec Role(WeightFormat weights, KvFormats kv) {
  return {.model = BATON_TINY_MODEL, .weights = weights, .kv = kv};
}
PairSpec Pair(WeightFormat prefill, KvFormats kv, WeightFormat decode) {
  return {.prefill = Role(prefill, kv), .decode = Role(decode, kv), .wire = kv};
}
const PairSpec kReference = Pair(WeightFormat::kFp32, kFp16, WeightFormat::kFp32);

class EvaluatorTest : public ::testing::Test {
 protected:
  EvaluatorTest() {
    std::mt19937 random(7);
    std::uniform_int_distribution<int32_t> token(0, 4095);
    tokens_.resize(2 * kWindow);
    for (int32_t& t : tokens_) t = token(random);
    windows_ = *CutWindows(tokens_, kWindow, 0, 4096);
  }

  // One pool for all tests: each model is loaded once.
  static void SetUpTestSuite() {
    pool_holder_ = std::make_unique<RunnerPool>(2, 2 * kWindow, nullptr);
  }
  static void TearDownTestSuite() { pool_holder_.reset(); }

  EvalResult Run(const EvalConfig& config, const std::vector<PairSpec>& pairs) {
    Evaluator evaluator(config, pool_);
    absl::StatusOr<EvalResult> result = evaluator.Run(windows_, pairs, {});
    EXPECT_TRUE(result.ok()) << ToString(result.status());
    return result.ok() ? *std::move(result) : EvalResult{};
  }

  std::vector<int32_t> tokens_;
  std::vector<std::span<const int32_t>> windows_;
  static inline std::unique_ptr<RunnerPool> pool_holder_;
  RunnerPool& pool_ = *pool_holder_;
};

TEST_F(EvaluatorTest, OnePrecisionInBothPhasesIsTheWholeWindowInOneProcess) {
  const PairSpec pair = Pair(WeightFormat::kW4A16, kInt8, WeightFormat::kW4A16);
  const EvalResult result =
      Run({.window = kWindow, .score_prompt = true, .reference = kReference}, {pair});
  auto runner = pool_.Get(pair.decode);
  ASSERT_TRUE(runner.ok());
  for (size_t i = 0; i < windows_.size(); ++i) {
    const auto scores = (*runner)->runner->Score(windows_[i], (*runner)->decode_pages);
    ASSERT_TRUE(scores.ok());
    const double mean =
        -std::accumulate(scores->begin(), scores->end(), 0.0) / static_cast<double>(scores->size());
    // Score rounds each log-probability to float.
    EXPECT_NEAR(result.pairs[0].window_nll[i], mean, 1e-6);
  }
}

TEST_F(EvaluatorTest, TheReferenceIsNoDistanceFromItself) {
  const EvalConfig config{
      .window = kWindow, .divergence = true, .greedy_tokens = 8, .reference = kReference};
  PairSpec rounded = kReference;
  rounded.wire = kInt4;
  const EvalResult result = Run(config, {kReference, rounded});
  const PairScores& same = result.pairs[0];
  EXPECT_EQ(same.window_nll, result.reference.window_nll);
  EXPECT_EQ(same.window_kl, (std::vector<double>{0, 0}));
  EXPECT_EQ(same.window_agreement, (std::vector<double>{1, 1}));
  EXPECT_EQ(same.first_difference, (std::vector<int>{8, 8}));
  EXPECT_GT(result.pairs[1].window_kl[0], 0);
  // Position 0 comes from the prefill role, before any hand-over.
  EXPECT_EQ(result.pairs[1].kl_by_position[0], 0);
  EXPECT_GT(result.pairs[1].kl_by_position[1], 0);
}

TEST_F(EvaluatorTest, CoarserCachesAndWeightsDivergeMore) {
  const EvalConfig config{.window = kWindow, .divergence = true, .reference = kReference};
  const EvalResult result = Run(config, {Pair(WeightFormat::kFp16, kFp16, WeightFormat::kFp16),
                                         Pair(WeightFormat::kFp16, kInt8, WeightFormat::kFp16),
                                         Pair(WeightFormat::kFp16, kInt4, WeightFormat::kFp16),
                                         Pair(WeightFormat::kFp16, kInt4, WeightFormat::kW4A16)});
  double last = 0;
  for (const PairScores& pair : result.pairs) {
    const double kl = MeanInterval(pair.window_kl).mean;
    EXPECT_GT(kl, last);
    last = kl;
  }
  EXPECT_LT(MeanInterval(result.pairs[0].window_kl).mean, 1e-4);
}

TEST_F(EvaluatorTest, APairsScoresDoNotDependOnTheOthers) {
  const EvalConfig config{.window = kWindow,
                          .score_prompt = true,
                          .divergence = true,
                          .greedy_tokens = 6,
                          .reference = kReference};
  const std::vector<PairSpec> pairs = {Pair(WeightFormat::kFp32, kFp16, WeightFormat::kW4A16),
                                       Pair(WeightFormat::kW8A8, kInt8, WeightFormat::kW4A16),
                                       Pair(WeightFormat::kW8A8, kInt8, WeightFormat::kW4A8),
                                       kReference,
                                       Pair(WeightFormat::kW4A16, kInt8, WeightFormat::kW8A8)};
  const EvalResult together = Run(config, pairs);
  for (size_t i = 0; i < pairs.size(); ++i) {
    const EvalResult alone = Run(config, {pairs[i]});
    EXPECT_EQ(together.pairs[i].window_nll, alone.pairs[0].window_nll) << i;
    EXPECT_EQ(together.pairs[i].kl_by_position, alone.pairs[0].kl_by_position) << i;
    EXPECT_EQ(together.pairs[i].first_difference, alone.pairs[0].first_difference) << i;
  }
}

// Decodes freely, one token a step, as a served pair does.
TEST_F(EvaluatorTest, FirstDifferenceIsThatOfFreeDecoding) {
  constexpr int kTokens = 12;
  const auto decode_freely = [&](const PairSpec& pair, std::span<const int32_t> window) {
    PairRun run(pool_);
    std::vector<int32_t> out;
    const LogitSink keep = [&](int, std::span<const float> logits) {
      out.push_back(kernels::SampleGreedy(logits));
      return absl::OkStatus();
    };
    EXPECT_TRUE(run.Prefill(pair.prefill, window.first(kWindow / 2), false, keep).ok());
    EXPECT_TRUE(run.HandOver(pair, kWindow / 2).ok());
    while (out.size() < kTokens) {
      const int32_t last = out.back();
      const int position = kWindow / 2 + static_cast<int>(out.size()) - 1;
      EXPECT_TRUE(run.Decode(pair.decode, std::span(&last, 1), position, keep).ok());
    }
    return out;
  };
  const std::vector<PairSpec> pairs = {Pair(WeightFormat::kW8A8, kInt8, WeightFormat::kW8A8),
                                       Pair(WeightFormat::kW8A8, kInt4, WeightFormat::kW4A8),
                                       Pair(WeightFormat::kFp16, kFp16, WeightFormat::kFp16)};
  const EvalResult result =
      Run({.window = kWindow, .greedy_tokens = kTokens, .reference = kReference}, pairs);
  bool any_differs = false;
  for (size_t w = 0; w < windows_.size(); ++w) {
    const std::vector<int32_t> expected = decode_freely(kReference, windows_[w]);
    for (size_t p = 0; p < pairs.size(); ++p) {
      const std::vector<int32_t> got = decode_freely(pairs[p], windows_[w]);
      const auto first = std::mismatch(expected.begin(), expected.end(), got.begin()).first;
      const int difference = static_cast<int>(first - expected.begin());
      EXPECT_EQ(result.pairs[p].first_difference[w], difference) << "pair " << p;
      any_differs |= difference < kTokens;
    }
  }
  EXPECT_TRUE(any_differs);
}

TEST_F(EvaluatorTest, RefusesBadConfigurations) {
  const auto message = [&](const EvalConfig& config, const PairSpec& pair) {
    return ToString(Evaluator(config, pool_).Run(windows_, {&pair, 1}, {}).status());
  };
  EXPECT_NE(message({.window = 3, .reference = kReference}, kReference).find("window: 3"),
            std::string::npos);
  EXPECT_NE(message({.window = 64, .reference = kReference}, kReference).find("48 tokens"),
            std::string::npos);
  EXPECT_NE(message({.window = kWindow, .greedy_tokens = 49, .reference = kReference}, kReference)
                .find("greedy tokens: 49"),
            std::string::npos);
  PairSpec nowhere = kReference;
  nowhere.decode.model = "/nowhere";
  EXPECT_NE(message({.window = kWindow, .reference = kReference}, nowhere).find("/nowhere"),
            std::string::npos);
}

TEST_F(EvaluatorTest, RefusesAnotherVocabularyThanTheReferences) {
  const RoleSpec other{.model = BATON_SOURCE_DIR "/tests/common/quant/formats/fixtures/model",
                       .weights = WeightFormat::kAuto,
                       .kv = kFp16};
  RunnerPool pool(1, kWindow, {});
  const PairSpec pair{.prefill = other, .decode = other, .wire = kFp16};
  const auto status =
      Evaluator({.window = kWindow, .reference = kReference}, pool).Run(windows_, {&pair, 1}, {});
  EXPECT_EQ(status.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_NE(ToString(status.status()).find("vocab_size 24, expected 4096"), std::string::npos)
      << ToString(status.status());
}

TEST(RunnerPoolTest, RefusesSequencesBeyondTheModelsContext) {
  RunnerPool pool(1, 2049, {});
  const auto runner = pool.Get(Role(WeightFormat::kFp16, kFp16));
  EXPECT_EQ(runner.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(ToString(runner.status()).find("2048"), std::string::npos);
}

TEST_F(EvaluatorTest, RefusesModelsOfDifferentGeometry) {
  const std::string small = BATON_SHARED_DIR "/models/small";
  if (!std::ifstream(small + "/config.json")) GTEST_SKIP() << small << " is not here";
  PairSpec pair = kReference;
  pair.decode.model = small;
  const auto status =
      Evaluator({.window = kWindow, .reference = kReference}, pool_).Run(windows_, {&pair, 1}, {});
  EXPECT_NE(ToString(status.status()).find("geometry.layers: prefill 6, decode 8"),
            std::string::npos)
      << ToString(status.status());
}

}  // namespace
}  // namespace baton
