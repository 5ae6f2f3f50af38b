#include "kernels/sampling/sampling.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <random>
#include <set>
#include <vector>

#include "gtest/gtest.h"

namespace baton::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

std::vector<float> LogitsOf(const std::vector<double>& probabilities) {
  std::vector<float> logits;
  for (const double p : probabilities) logits.push_back(static_cast<float>(std::log(p)));
  return logits;
}

std::vector<float> RandomLogits(size_t count, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, 3.0f);
  std::vector<float> logits(count);
  for (float& logit : logits) logit = normal(random);
  return logits;
}

std::map<int32_t, int> Histogram(const std::vector<float>& logits, const SamplingParams& params,
                                 int draws) {
  Sampler sampler;
  std::map<int32_t, int> counts;
  for (int i = 0; i < draws; ++i)
    ++counts[sampler.Sample(logits, params, static_cast<uint64_t>(i))];
  return counts;
}

TEST(GreedyTest, TiesNanAndInfinities) {
  EXPECT_EQ(SampleGreedy(std::vector<float>{1, 5, 5, 2}), 1);
  EXPECT_EQ(SampleGreedy(std::vector<float>{kNan, -3, kNan, -2}), 3);
  EXPECT_EQ(SampleGreedy(std::vector<float>{0, kInf, kInf}), 1);
  EXPECT_EQ(SampleGreedy(std::vector<float>{-kInf, -kInf}), -1);
  EXPECT_EQ(SampleGreedy(std::vector<float>{kNan}), -1);
  EXPECT_EQ(SampleGreedy({}), -1);
}

std::vector<float> Changed(const std::vector<float>& logits, const LogitChanges& changes) {
  Sampler sampler;
  const auto changed = sampler.Change(logits, changes);
  return {changed.begin(), changed.end()};
}

// Worked by hand from vLLM's definitions. Tokens 0 and 1 are in the prompt, 1 and 2 in the output.
TEST(LogitChangesTest, RepetitionCountsPromptAndOutputTheOthersTheOutput) {
  const std::vector<float> logits = {3, -2, 8, 5};
  const std::vector<int32_t> history = {0, 1, 0, 2, 1, 2, 2};
  LogitChanges changes{.history = history, .prompt_tokens = 3};
  EXPECT_EQ(Changed(logits, changes), logits);
  changes.repetition_penalty = 2;
  EXPECT_EQ(Changed(logits, changes), (std::vector<float>{1.5f, -4, 4, 5}));
  changes.frequency_penalty = 0.5f;
  EXPECT_EQ(Changed(logits, changes), (std::vector<float>{1.5f, -4.5f, 2.5f, 5}));
  changes.presence_penalty = -1;
  EXPECT_EQ(Changed(logits, changes), (std::vector<float>{1.5f, -3.5f, 3.5f, 5}));
}

// The bias decides the sign that the repetition penalty looks at.
TEST(LogitChangesTest, BiasComesFirst) {
  const std::vector<TokenBias> bias = {{1, 4.0f}, {2, -100.0f}};
  const std::vector<int32_t> history = {0, 1, 1, 2};
  const LogitChanges changes{
      .bias = bias, .repetition_penalty = 2, .history = history, .prompt_tokens = 4};
  EXPECT_EQ(Changed({3, -2, 8, 5}, changes), (std::vector<float>{1.5f, 1, -184, 5}));
}

TEST(LogitChangesTest, NothingIsLeftForTheNextCall) {
  Sampler sampler;
  const std::vector<int32_t> first = {0, 1, 1};
  sampler.Change(std::vector<float>{1, 1, 1}, {.frequency_penalty = 1, .history = first});
  const std::vector<int32_t> second = {1, 4};
  const auto changed =
      sampler.Change(std::vector<float>(5, 1.0f), {.frequency_penalty = 1, .history = second});
  EXPECT_EQ((std::vector<float>{changed.begin(), changed.end()}),
            (std::vector<float>{1, 0, 1, 1, 0}));
}

TEST(LogitChangesTest, InfinitiesAndNanStay) {
  const std::vector<int32_t> history = {0, 1, 2};
  const std::vector<float> changed = Changed(
      {kInf, -kInf, kNan}, {.repetition_penalty = 2, .presence_penalty = 1, .history = history});
  EXPECT_EQ(changed[0], kInf);
  EXPECT_EQ(changed[1], -kInf);
  EXPECT_TRUE(std::isnan(changed[2]));
}

TEST(SamplerTest, TemperatureZeroIsGreedy) {
  Sampler sampler;
  EXPECT_EQ(sampler.Sample(std::vector<float>{1, 7, 3}, {.temperature = 0.0f}, 5), 1);
}

// Descending 0.5, 0.3, 0.2 with ties by id: the cumulative bounds decide, whatever the token order.
TEST(SamplerTest, InverseOfTheCumulativeDistribution) {
  const std::vector<float> logits = LogitsOf({0.3, 0.2, 0.5});
  Sampler sampler;
  const SamplingParams params{.seed = 99};
  for (uint64_t position = 0; position < 2000; ++position) {
    const float u = SamplingUniform(99, position);
    if (std::fabs(u - 0.5f) < 1e-5f || std::fabs(u - 0.8f) < 1e-5f) continue;
    const int expected = u < 0.5f ? 2 : (u < 0.8f ? 0 : 1);
    ASSERT_EQ(sampler.Sample(logits, params, position), expected) << u;
  }
}

TEST(SamplerTest, TiesAreOrderedById) {
  const std::vector<float> logits = {0, 0, 0, 0};
  Sampler sampler;
  for (uint64_t position = 0; position < 200; ++position) {
    const float u = SamplingUniform(1, position);
    EXPECT_EQ(sampler.Sample(logits, {.seed = 1}, position), static_cast<int>(u * 4));
  }
}

TEST(SamplerTest, TopKKeepsLowerIdsAtTheCut) {
  const std::vector<float> logits = {1, 2, 1, 3, 1};
  const auto counts = Histogram(logits, {.top_k = 3}, 3000);
  EXPECT_TRUE(counts.contains(0));
  EXPECT_TRUE(counts.contains(1));
  EXPECT_TRUE(counts.contains(3));
  EXPECT_EQ(counts.size(), 3u);
  EXPECT_EQ(Histogram(logits, {.top_k = 1}, 100), (std::map<int32_t, int>{{3, 100}}));
  EXPECT_EQ(Histogram(logits, {.top_k = 100}, 5000).size(), 5u);
}

TEST(SamplerTest, TopPKeepsTheCrossingToken) {
  const std::vector<float> logits = LogitsOf({0.1, 0.45, 0.25, 0.2});
  EXPECT_EQ(Histogram(logits, {.top_p = 0.44f}, 500).size(), 1u);
  EXPECT_EQ(Histogram(logits, {.top_p = 0.5f}, 500).size(), 2u);
  EXPECT_EQ(Histogram(logits, {.top_p = 0.75f}, 500).size(), 3u);
  EXPECT_EQ(Histogram(logits, {.top_p = 0.95f}, 500).size(), 4u);
  EXPECT_EQ(Histogram(logits, {.top_p = 0.0f}, 500), (std::map<int32_t, int>{{1, 500}}));
}

TEST(SamplerTest, TopPCountsWhatTopKLeft) {
  // After top-k 2 the weights are 0.45 : 0.25 = 0.64 : 0.36, so 0.6 keeps one token only.
  const std::vector<float> logits = LogitsOf({0.1, 0.45, 0.25, 0.2});
  EXPECT_EQ(Histogram(logits, {.top_k = 2, .top_p = 0.6f}, 500).size(), 1u);
  EXPECT_EQ(Histogram(logits, {.top_p = 0.6f}, 500).size(), 2u);
}

TEST(SamplerTest, MinPIsRelativeToTheLargest) {
  const std::vector<float> logits = LogitsOf({0.5, 0.3, 0.15, 0.05});
  EXPECT_EQ(Histogram(logits, {.min_p = 0.5f}, 500).size(), 2u);
  EXPECT_EQ(Histogram(logits, {.min_p = 0.2f}, 500).size(), 3u);
  EXPECT_EQ(Histogram(logits, {.min_p = 1.0f}, 500).size(), 1u);
}

TEST(SamplerTest, TemperatureSharpensAndFlattens) {
  const std::vector<float> logits = LogitsOf({0.8, 0.2});
  EXPECT_NEAR(Histogram(logits, {.temperature = 1.0f}, 10000)[0], 8000, 250);
  EXPECT_NEAR(Histogram(logits, {.temperature = 0.5f}, 10000)[0], 9412, 250);  // 16 : 1
  EXPECT_NEAR(Histogram(logits, {.temperature = 1e6f}, 10000)[0], 5000, 250);
  EXPECT_EQ(Histogram(logits, {.temperature = 1e-6f}, 100)[0], 100);
}

TEST(SamplerTest, ForbiddenAndBrokenLogitsAreNeverChosen) {
  const std::vector<float> logits = {kNan, 0, -kInf, 0, kNan};
  const auto counts = Histogram(logits, {}, 500);
  EXPECT_EQ(counts.size(), 2u);
  EXPECT_TRUE(counts.contains(1) && counts.contains(3));
  EXPECT_EQ(Histogram({kInf, 3, kInf}, {}, 500).size(), 2u);
  EXPECT_EQ(Histogram({kNan, -kInf}, {}, 1), (std::map<int32_t, int>{{-1, 1}}));
}

// A plain sort of everything, then the same rules: the fast selection must give the same tokens.
int32_t SlowSample(const std::vector<float>& logits, const SamplingParams& params,
                   uint64_t position) {
  std::vector<std::pair<float, int32_t>> sorted;  // (-weight, id): ascending order is ours
  const float max = logits[SampleGreedy(logits)];
  for (size_t i = 0; i < logits.size(); ++i) {
    sorted.emplace_back(-std::exp((logits[i] - max) / params.temperature), static_cast<int32_t>(i));
  }
  std::sort(sorted.begin(), sorted.end());
  if (params.top_k > 0) sorted.resize(std::min<size_t>(sorted.size(), params.top_k));
  float total = 0;
  for (const auto& [w, id] : sorted) total += -w;
  float kept = 0;
  for (size_t i = 0; i < sorted.size(); ++i) {
    kept += -sorted[i].first;
    if (kept >= params.top_p * total && params.top_p < 1.0f) sorted.resize(i + 1);
  }
  while (-sorted.back().first < params.min_p * -sorted.front().first) sorted.pop_back();
  total = 0;
  for (const auto& [w, id] : sorted) total += -w;
  float sum = 0;
  for (const auto& [w, id] : sorted) {
    sum += -w;
    if (sum > SamplingUniform(params.seed, position) * total) return id;
  }
  return sorted.back().second;
}

TEST(SamplerTest, EqualsThePlainAlgorithm) {
  const std::vector<float> logits = RandomLogits(5000, 5);
  Sampler sampler;
  for (const SamplingParams& params :
       {SamplingParams{.seed = 3}, SamplingParams{.temperature = 0.7f, .top_k = 40, .seed = 4},
        SamplingParams{.top_p = 0.9f, .seed = 5},
        SamplingParams{
            .temperature = 1.3f, .top_k = 500, .top_p = 0.8f, .min_p = 0.01f, .seed = 6}}) {
    for (uint64_t position = 0; position < 50; ++position) {
      ASSERT_EQ(sampler.Sample(logits, params, position), SlowSample(logits, params, position));
    }
  }
}

TEST(LogprobTest, LogSoftmaxOfTheRawLogits) {
  const std::vector<float> logits = LogitsOf({0.1, 0.45, 0.25, 0.2});
  const LogprobResult result = TokenLogprobs(logits, 3, 2);
  EXPECT_EQ(result.chosen.token, 3);
  EXPECT_NEAR(result.chosen.logprob, std::log(0.2), 1e-6);
  ASSERT_EQ(result.top.size(), 2u);
  EXPECT_EQ(result.top[0].token, 1);
  EXPECT_NEAR(result.top[0].logprob, std::log(0.45), 1e-6);
  EXPECT_EQ(result.top[1].token, 2);
}

TEST(LogprobTest, CountIsBoundedAndTiesGoById) {
  const LogprobResult result = TokenLogprobs(std::vector<float>{2, kNan, 2, -kInf}, 0, 100);
  ASSERT_EQ(result.top.size(), 4u);
  EXPECT_EQ(result.top[0].token, 0);
  EXPECT_EQ(result.top[1].token, 2);
  EXPECT_NEAR(result.top[0].logprob, std::log(0.5), 1e-6);
  EXPECT_EQ(result.top[3].logprob, -kInf);
  EXPECT_TRUE(TokenLogprobs(std::vector<float>{1, 2}, 1, 0).top.empty());
}

TEST(LogprobTest, ProbabilitiesAddUpToOne) {
  const std::vector<float> logits = RandomLogits(4096, 8);
  double sum = 0;
  for (const TokenLogprob& entry : TokenLogprobs(logits, 0, 4096).top)
    sum += std::exp(entry.logprob);
  EXPECT_NEAR(sum, 1.0, 1e-5);
}

}  // namespace
}  // namespace baton::kernels
