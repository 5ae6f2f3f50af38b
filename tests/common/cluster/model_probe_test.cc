#include "common/cluster/model_probe.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <set>

#include "common/base/status.h"
#include "tests/fakes/fake_runner.h"

namespace baton {
namespace {

// At each position tokens 0 … 7 with the given log-probability first and the rest far below.
v1::ModelProbe Probe(float first, int32_t first_token = 0) {
  v1::ModelProbe probe;
  probe.set_version(kProbeVersion);
  for (int i = 0; i < kProbePositions * kProbeTop; ++i) {
    const int rank = i % kProbeTop;
    probe.add_tokens(first_token + rank);
    probe.add_logprobs(rank == 0 ? first : -20.0f - static_cast<float>(rank));
  }
  return probe;
}

TEST(ProbeSequenceTest, FollowsFromTheVocabularyAlone) {
  const std::vector<int32_t> tokens = ProbeSequence(1000);
  EXPECT_EQ(tokens, ProbeSequence(1000));
  EXPECT_EQ(tokens.size(), 64u);
  EXPECT_GT(std::set<int32_t>(tokens.begin(), tokens.end()).size(), 12u);
  for (size_t i = 0; i < tokens.size(); ++i) {
    EXPECT_GE(tokens[i], 0);
    EXPECT_LT(tokens[i], 1000);
    EXPECT_EQ(tokens[i], tokens[i % 16]);
  }
}

TEST(ProbeDistanceTest, IsWeightedByProbability) {
  EXPECT_EQ(*ProbeDistance(Probe(-0.5f), Probe(-0.5f)), 0.0);
  // All the weight is on the first token.
  EXPECT_NEAR(*ProbeDistance(Probe(-0.5f), Probe(-0.25f)), 0.25, 1e-6);
  EXPECT_EQ(*ProbeDistance(Probe(-0.5f), Probe(-0.25f)),
            *ProbeDistance(Probe(-0.25f), Probe(-0.5f)));
  v1::ModelProbe other = Probe(-0.5f);
  for (int i = 0; i < kProbeTop; ++i) other.set_logprobs(i, other.logprobs(i) - 1.0f);
  EXPECT_NEAR(*ProbeDistance(Probe(-0.5f), other), 1.0 / kProbePositions, 1e-6);
}

TEST(ProbeDistanceTest, AMissingTokenDiffersByTheLeastItCan) {
  // No token in common: each side's first is at most −27 on the other, 26.5 away.
  EXPECT_NEAR(*ProbeDistance(Probe(-0.5f), Probe(-0.5f, 100)), 26.5, 1e-3);
  // A token missing among ones as probable as it makes no difference.
  v1::ModelProbe a = Probe(-2), b = Probe(-2);
  for (int i = 0; i < a.logprobs_size(); ++i) {
    a.set_logprobs(i, -2);
    b.set_logprobs(i, -2);
    if (i % kProbeTop == 7) b.set_tokens(i, 50);
  }
  EXPECT_EQ(*ProbeDistance(a, b), 0.0);
}

TEST(ProbeDistanceTest, AbsentForeignOrBrokenProbesAreNotCompared) {
  const v1::ModelProbe good = Probe(-1);
  EXPECT_FALSE(ProbeDistance(good, v1::ModelProbe()));
  EXPECT_FALSE(ProbeDistance(v1::ModelProbe(), v1::ModelProbe()));
  v1::ModelProbe foreign = good;
  foreign.set_version(kProbeVersion + 1);
  EXPECT_FALSE(ProbeDistance(good, foreign));
  v1::ModelProbe shorter = good;
  shorter.mutable_tokens()->RemoveLast();
  EXPECT_FALSE(ProbeDistance(shorter, good));
  for (float bad : {std::nanf(""), -std::numeric_limits<float>::infinity(), 1.0f}) {
    v1::ModelProbe broken = good;
    broken.set_logprobs(5, bad);
    EXPECT_FALSE(ProbeDistance(broken, good));
    EXPECT_EQ(ValidateProbe(broken).code(), absl::StatusCode::kInvalidArgument);
  }
  EXPECT_TRUE(ValidateProbe(good).ok());
  EXPECT_TRUE(ValidateProbe(v1::ModelProbe()).ok());
}

TEST(TakeProbeTest, ReadsTheRunnersAnswers) {
  FakeRunner runner({.page_count = 4});
  const auto probe = TakeProbe(runner, 1000);
  ASSERT_TRUE(probe.ok()) << ToString(probe.status());
  EXPECT_EQ(probe->version(), kProbeVersion);
  EXPECT_EQ(probe->tokens_size(), kProbePositions * kProbeTop);
  EXPECT_EQ(runner.computed_tokens(), kProbeTokens);
  // The first token of each position is the model's choice after so many tokens.
  const std::vector<int32_t> tokens = ProbeSequence(1000);
  for (int i = 0; i < kProbePositions; ++i) {
    const auto before = std::span(tokens).first(static_cast<size_t>((i + 1) * kProbeStride));
    EXPECT_EQ(probe->tokens(i * kProbeTop),
              FakeRunner::NextToken({.page_count = 4}, before, {.temperature = 0}));
  }
}

TEST(TakeProbeTest, NeedsPagesAndAVocabulary) {
  FakeRunner small({.page_count = 3});
  EXPECT_EQ(TakeProbe(small, 1000).status().code(), absl::StatusCode::kFailedPrecondition);
  FakeRunner runner({.page_count = 4});
  EXPECT_EQ(TakeProbe(runner, 7).status().code(), absl::StatusCode::kFailedPrecondition);
  runner.FailNext(absl::UnavailableError("gone"));
  EXPECT_EQ(TakeProbe(runner, 1000).status().code(), absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace baton
