#include "common/eval/row_score.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <limits>

namespace baton {
namespace {

constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(RowScore, LikelihoodAndBestToken) {
  const std::array<float, 4> logits = {1, 3, 2, 3};
  const RowScore score = ScoreRow(logits, 2);
  const double normalizer = std::log(std::exp(1.0) + 2 * std::exp(3.0) + std::exp(2.0));
  EXPECT_NEAR(score.nll, normalizer - 2, 1e-6);
  EXPECT_EQ(score.best, 1);  // the lower of two equals
}

TEST(RowScore, DivergenceByHand) {
  // p = (1/4, 3/4), q = (1/2, 1/2).
  const std::array<float, 2> p = {0.0f, static_cast<float>(std::log(3.0))};
  const std::array<float, 2> q = {5.0f, 5.0f};
  ReferenceRows reference(3, 2);
  reference.Set(1, p);
  const RowScore score = ScoreRow(q, 0, reference.Get(1));
  EXPECT_NEAR(score.kl, 0.25 * std::log(0.5) + 0.75 * std::log(1.5), 1e-6);
  EXPECT_NEAR(score.nll, std::log(2.0), 1e-6);
  // From itself, whatever constant is added to the logits.
  const std::array<float, 2> shifted = {p[0] + 20, p[1] + 20};
  EXPECT_NEAR(ScoreRow(shifted, 0, reference.Get(1)).kl, 0, 1e-6);
}

TEST(RowScore, ImpossibleTokens) {
  const std::array<float, 3> p = {0, 0, -kInfinity};
  ReferenceRows reference(1, 3);
  reference.Set(0, p);
  // What the reference excludes costs nothing to exclude; what it allows costs everything.
  EXPECT_NEAR(ScoreRow(p, 0, reference.Get(0)).kl, 0, 1e-6);
  const std::array<float, 3> q = {0, -kInfinity, 0};
  EXPECT_EQ(ScoreRow(q, 0, reference.Get(0)).kl, kInfinity);
}

TEST(RowScore, LogitsThatAreNotNumbers) {
  const float nan = std::numeric_limits<float>::quiet_NaN();
  EXPECT_TRUE(std::isnan(ScoreRow(std::array<float, 2>{nan, 1}, 1).nll));
  EXPECT_TRUE(std::isnan(ScoreRow(std::array<float, 2>{nan, nan}, 0).nll));
  EXPECT_TRUE(std::isnan(ScoreRow(std::array<float, 2>{-kInfinity, -kInfinity}, 0).nll));
}

}  // namespace
}  // namespace baton
