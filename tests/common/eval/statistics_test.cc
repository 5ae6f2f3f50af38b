#include "common/eval/statistics.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>

namespace baton {
namespace {

// Two-sided 5 % points from tables of Student's distribution.
TEST(Statistics, StudentEqualsTheTables) {
  EXPECT_NEAR(StudentTwoSided95(1), 12.7062, 1e-4);
  EXPECT_NEAR(StudentTwoSided95(2), 4.3027, 1e-4);
  EXPECT_NEAR(StudentTwoSided95(3), 3.1824, 1e-4);
  EXPECT_NEAR(StudentTwoSided95(4), 2.7764, 1e-4);
  EXPECT_NEAR(StudentTwoSided95(9), 2.2622, 1e-4);
  EXPECT_NEAR(StudentTwoSided95(30), 2.0423, 1e-4);
  EXPECT_NEAR(StudentTwoSided95(63), 1.9983, 1e-4);
  EXPECT_NEAR(StudentTwoSided95(10000), 1.9602, 1e-4);
}

TEST(Statistics, IntervalOfAMean) {
  const std::array<double, 4> samples = {1, 2, 3, 4};  // deviation 1.2910, error of the mean 0.6455
  const Interval interval = MeanInterval(samples);
  EXPECT_DOUBLE_EQ(interval.mean, 2.5);
  EXPECT_NEAR(interval.high - interval.mean, 3.1824 * 0.645497, 1e-4);
  EXPECT_NEAR(interval.mean - interval.low, 3.1824 * 0.645497, 1e-4);
}

TEST(Statistics, OneSampleHasNoInterval) {
  const std::array<double, 1> sample = {2};
  const Interval interval = Perplexity(sample);
  EXPECT_DOUBLE_EQ(interval.mean, std::exp(2));
  EXPECT_EQ(interval.low, 0);
  EXPECT_TRUE(std::isinf(interval.high));
}

TEST(Statistics, PairedDifferencesCancelWhatBothFindHard) {
  const std::array<double, 3> baseline = {1, 5, 9};
  const std::array<double, 3> other = {1.01, 5.01, 9.01};
  const Interval increase = PerplexityIncrease(other, baseline);
  EXPECT_NEAR(increase.mean, std::expm1(0.01), 1e-12);
  EXPECT_NEAR(increase.high - increase.low, 0, 1e-12);
  EXPECT_GT(Perplexity(other).high / Perplexity(other).low, 1000);
}

}  // namespace
}  // namespace baton
