#include "common/quant/algorithms/folding.h"

#include <gtest/gtest.h>

#include <cmath>

#include "kernels/numeric/formats.h"
#include "tests/common/quant/algorithms/random_layer.h"

namespace baton {
namespace {

InputStatistics StatisticsOf(const Matrix& x) {
  const std::vector<float> zeros(static_cast<size_t>(x.cols));
  InputStatistics s{zeros, zeros, zeros};
  for (int64_t i = 0; i < x.rows; ++i) {
    for (size_t j = 0; j < s.amax.size(); ++j) {
      s.amax[j] = std::max(s.amax[j], std::abs(x.Row(i)[j]));
      s.mean[j] += std::abs(x.Row(i)[j]) / static_cast<float>(x.rows);
      s.fourth[j] += std::pow(x.Row(i)[j], 4.0f) / static_cast<float>(x.rows);
    }
  }
  for (float& f : s.fourth) f = std::pow(f, 0.25f);
  return s;
}

TEST(FoldFactors, FollowTheFormulas) {
  Matrix w(2, 2);
  w.values = {1.0f, -4.0f, -2.0f, 2.0f};  // amax 2, 4; mean 1.5, 3
  const InputStatistics s{{8.0f, 2.0f}, {2.0f, 0.5f}, {4.0f, 1.0f}};
  const std::vector<const Matrix*> weights = {&w};
  // √8 / √2 and √2 / √4, normalized by the root of their product.
  std::vector<float> f = FoldFactors(FoldRule::kSmoothQuant, 0.5f, s, weights);
  EXPECT_NEAR(f[0] / f[1], 2.0 / std::sqrt(0.5), 1e-5);
  EXPECT_NEAR(f[0] * f[1], 1.0, 1e-6);
  // √4 / √rms(1, 2) and √1 / √rms(4, 2): rms² 2.5 and 10.
  f = FoldFactors(FoldRule::kFourthMoment, 0.5f, s, weights);
  EXPECT_NEAR(f[0] / f[1], 2.0 * std::pow(10.0 / 2.5, 0.25), 1e-5);
  f = FoldFactors(FoldRule::kAwq, 0.25f, s, weights);
  EXPECT_NEAR(f[0] / f[1], std::pow(4.0, 0.25), 1e-5);
  f = FoldFactors(FoldRule::kAwqDuo, 0.25f, s, weights);
  EXPECT_NEAR(f[0] / f[1], std::pow(4.0, 0.25) * std::pow(2.0, 0.75), 1e-5);
  f = FoldFactors(FoldRule::kAwq, 0.0f, s, weights);
  EXPECT_EQ(f, (std::vector<float>{1.0f, 1.0f}));
}

TEST(FoldFactors, ChannelsThatAreNeverUsedStayInRange) {
  Matrix w = RandomMatrix(3, 4, 1);
  for (int64_t i = 0; i < 3; ++i) w.At(i, 2) = 0;
  const InputStatistics s{{1, 0, 3, 4}, {1, 0, 3, 4}, {1, 0, 3, 4}};
  const std::vector<const Matrix*> weights = {&w};
  for (const FoldRule rule :
       {FoldRule::kSmoothQuant, FoldRule::kFourthMoment, FoldRule::kAwq, FoldRule::kAwqDuo}) {
    for (const float f : FoldFactors(rule, 0.5f, s, weights)) {
      EXPECT_TRUE(std::isfinite(f) && f > 0);
    }
  }
}

TEST(DivideNorm, FactorsAreWhatTheRoundedNormDividesBy) {
  std::vector<float> norm = {1.0f, 0.37f, -2.0f, 0.0f};
  for (float& n : norm) n = kernels::FloatFromBf16(kernels::Bf16FromFloat(n));
  const std::vector<float> before = norm;
  std::vector<float> factors = {1.37f, 0.61f, 3.3f, 2.0f};
  const std::vector<float> wanted = factors;
  DivideNorm(kernels::ScalarType::kBf16, norm, factors);
  for (size_t j = 0; j < 3; ++j) {
    EXPECT_EQ(kernels::FloatFromBf16(kernels::Bf16FromFloat(norm[j])), norm[j]);
    EXPECT_NEAR(factors[j] / wanted[j], 1.0, 1.0 / 256);
    EXPECT_NEAR(norm[j] * factors[j], before[j], 1e-6);
  }
  EXPECT_EQ(factors[3], 1.0f);  // a channel that is switched off
}

TEST(SearchFactors, IsBetterThanNoFactorsWhereChannelsDiffer) {
  const Matrix w = RandomMatrix(32, 64, 2);
  const Matrix x = RandomInputs(128, 64, 3);
  const std::vector<const Matrix*> weights = {&w};
  const FoldSearch awq{.spec = {.bits = 4, .symmetric = false, .group = 32}};
  const FoldChoice weight_only = SearchFactors(awq, x, StatisticsOf(x), weights, Serial());
  EXPECT_FALSE(weight_only.identity);
  EXPECT_LT(weight_only.error, weight_only.plain);
  const FoldSearch smooth{
      .rules = {FoldRule::kSmoothQuant}, .spec = {.bits = 8}, .activations = CodeKind::kInt};
  const FoldChoice smoothed = SearchFactors(smooth, x, StatisticsOf(x), weights, Serial());
  EXPECT_FALSE(smoothed.identity);
  EXPECT_LT(smoothed.error, 0.8 * smoothed.plain);
}

TEST(SearchFactors, KeepsTheIdentityWhereNothingHelps) {
  // Weights that the codes hold exactly.
  Matrix w(4, 16);
  for (int64_t i = 0; i < 4; ++i) {
    for (int64_t j = 0; j < 16; ++j) w.At(i, j) = static_cast<float>(j % 16) - 7;
  }
  const Matrix x = RandomInputs(32, 16, 4);
  const std::vector<const Matrix*> weights = {&w};
  const FoldChoice choice = SearchFactors({.spec = {.bits = 4, .symmetric = false, .group = 16}}, x,
                                          StatisticsOf(x), weights, Serial());
  EXPECT_TRUE(choice.identity);
  EXPECT_EQ(choice.factors, std::vector<float>(16, 1.0f));
  EXPECT_NEAR(choice.plain, 0, 1e-8);
  // Unless they were asked for.
  const FoldChoice forced = SearchFactors(
      {.alphas = {0.5f}, .spec = {.bits = 4, .symmetric = false, .group = 16}, .or_none = false}, x,
      StatisticsOf(x), weights, Serial());
  EXPECT_FALSE(forced.identity);
  EXPECT_GT(forced.error, choice.plain);
}

TEST(Folding, ScalingColumnsAndDividingRowsCancel) {
  const Matrix first = RandomMatrix(8, 5, 5);
  const Matrix second = RandomMatrix(3, 8, 6);
  const std::vector<float> factors = {0.5f, 3.0f, 1.7f, 0.2f, 9.0f, 1.0f, 2.0f, 0.8f};
  Matrix a = first;
  Matrix b = second;
  std::vector<float> bias(8, 1.0f);
  DivideRows(factors, a, bias);
  ScaleColumns(factors, b);
  for (int64_t i = 0; i < 3; ++i) {
    for (int64_t j = 0; j < 5; ++j) {
      double before = 0;
      double after = 0;
      double constant = 0;
      for (int64_t c = 0; c < 8; ++c) {
        before += static_cast<double>(second.At(i, c)) * first.At(c, j);
        after += static_cast<double>(b.At(i, c)) * a.At(c, j);
        constant +=
            static_cast<double>(b.At(i, c)) * bias[static_cast<size_t>(c)] - second.At(i, c);
      }
      EXPECT_NEAR(after, before, 1e-5);
      EXPECT_NEAR(constant, 0, 1e-5);
    }
  }
}

}  // namespace
}  // namespace baton
