#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>

#include "common/base/status.h"
#include "common/quant/algorithms/codebook.h"
#include "common/quant/algorithms/half_quadratic.h"
#include "common/quant/algorithms/nearest.h"
#include "common/quant/algorithms/observers.h"
#include "common/quant/algorithms/outliers.h"
#include "common/quant/algorithms/progressive.h"
#include "tests/common/quant/algorithms/random_layer.h"

namespace baton {
namespace {

double MeanAbs(const Matrix& a, const Matrix& b) {
  double sum = 0;
  for (size_t i = 0; i < a.values.size(); ++i) sum += std::abs(a.values[i] - b.values[i]);
  return sum / static_cast<double>(a.values.size());
}

// Normal values with some far out, as trained weights have.
Matrix HeavyTailed(int64_t rows, int64_t cols, uint32_t seed) {
  Matrix w = RandomMatrix(rows, cols, seed);
  for (float& x : w.values) x = x * std::abs(x);
  return w;
}

TEST(HalfQuadratic, MovesTheZeroPointToALowerError) {
  const Matrix w = HeavyTailed(32, 128, 1);
  const auto fixed = QuantizeHalfQuadratic(w, {.iterations = 0}, Serial());
  const auto moved = QuantizeHalfQuadratic(w, {}, Serial());
  ASSERT_TRUE(fixed.ok() && moved.ok());
  EXPECT_EQ(fixed->scales, moved->scales);
  EXPECT_LT(MeanAbs(w, moved->Values()), MeanAbs(w, fixed->Values()));
}

TEST(HalfQuadratic, ConstantGroupsAreExact) {
  Matrix w(1, 64);
  std::fill(w.values.begin(), w.values.end(), -3.25f);
  const auto coded = QuantizeHalfQuadratic(w, {}, Serial());
  ASSERT_TRUE(coded.ok());
  EXPECT_EQ(coded->Values().values, w.values);
}

TEST(HalfQuadratic, IntegralZeroPointsStayClose) {
  const Matrix w = HeavyTailed(16, 128, 2);
  const auto coded = QuantizeHalfQuadratic(w, {}, Serial());
  ASSERT_TRUE(coded.ok());
  const CodedMatrix integral = Integral(*coded, w, kernels::ScalarType::kBf16, Serial());
  for (const int32_t zero : integral.zeros) EXPECT_TRUE(zero >= 0 && zero <= 15);
  EXPECT_LT(MeanAbs(w, integral.Values()), 1.2 * MeanAbs(w, coded->Values()));
}

TEST(HalfQuadratic, RefusesOptionsOutOfRange) {
  const Matrix w = RandomMatrix(2, 64, 3);
  EXPECT_FALSE(QuantizeHalfQuadratic(w, {.bits = 1}, Serial()).ok());
  EXPECT_FALSE(QuantizeHalfQuadratic(w, {.group = 48}, Serial()).ok());
  EXPECT_FALSE(QuantizeHalfQuadratic(w, {.norm = 1.5f}, Serial()).ok());
}

TEST(NormalFloat, NearestOfTheCodebookAndTheEndsExact) {
  Matrix w(2, 64);
  for (size_t i = 0; i < w.values.size(); ++i) {
    w.values[i] = 3.0f * kNormalFloat4[i % 16];
  }
  const auto coded = QuantizeNormalFloat(w);
  ASSERT_TRUE(coded.ok());
  EXPECT_EQ(coded->amax, (std::vector<float>{3.0f, 3.0f}));
  EXPECT_EQ(coded->Values().values, w.values);
  const Matrix random = RandomMatrix(3, 50, 4);  // a short last block
  const auto rounded = QuantizeNormalFloat(random);
  ASSERT_TRUE(rounded.ok());
  EXPECT_EQ(rounded->amax.size(), 3u);
  const Matrix values = rounded->Values();
  for (size_t i = 0; i < values.values.size(); ++i) {
    for (const float candidate : kNormalFloat4) {
      EXPECT_LE(std::abs(values.values[i] - random.values[i]),
                std::abs(candidate * rounded->amax[i / 64] - random.values[i]) + 1e-6);
    }
  }
}

TEST(NormalFloat, BeatsUniformCodesOnNormalWeights) {
  const Matrix w = RandomMatrix(64, 256, 5);
  const auto normal = QuantizeNormalFloat(w);
  ASSERT_TRUE(normal.ok());
  const CodeSpec uniform{.bits = 4, .symmetric = true, .group = 64};
  EXPECT_LT(MeanAbs(w, normal->Values()),
            MeanAbs(w, RoundToNearest(w, uniform, {}, {}, Serial()).Values()));
}

TEST(Outliers, AreMultipliedInFloatingPoint) {
  Matrix x = RandomMatrix(8, 64, 6);
  for (int64_t i = 0; i < 8; ++i) x.At(i, 17) *= 40;
  x.At(0, 17) = 60;
  const Matrix w = RandomMatrix(16, 64, 7);
  const CodedMatrix coded = RoundToNearest(w, {.bits = 8}, {}, {}, Serial());
  Matrix exact(8, 16);
  MultiplyTransposed(8, 16, 64, 1, {x.values.data(), 64}, {coded.Values().values.data(), 64}, 0,
                     {exact.values.data(), 16});
  const auto with = MultiplyWithOutliers(x, coded);
  const auto without = MultiplyWithOutliers(x, coded, 1e9f);
  const auto all = MultiplyWithOutliers(x, coded, 0.0f);
  ASSERT_TRUE(with.ok() && without.ok() && all.ok());
  EXPECT_EQ(with->outliers, std::vector<int64_t>{17});
  EXPECT_TRUE(without->outliers.empty());
  EXPECT_LT(MeanAbs(exact, with->out), 0.2 * MeanAbs(exact, without->out));
  EXPECT_LT(MeanAbs(exact, all->out), 1e-4);
  EXPECT_FALSE(MultiplyWithOutliers(RandomMatrix(2, 63, 8), coded).ok());
}

TEST(Progressive, SecondLevelStaysWithinInt8AndIsFlatExactly) {
  const Matrix w = HeavyTailed(32, 256, 9);
  const auto coded = QuantizeProgressive(w, 128, Serial());
  ASSERT_TRUE(coded.ok());
  for (int64_t i = 0; i < w.rows; ++i) {
    for (int64_t j = 0; j < w.cols; ++j) EXPECT_LE(std::abs(coded->Code8(i, j)), 127);
  }
  EXPECT_EQ(Flat(*coded).Values().values, coded->Values().values);
  // Two roundings cost little more than one.
  const CodeSpec one{.bits = 4, .symmetric = false, .group = 128};
  EXPECT_LT(MeanAbs(w, coded->Values()),
            1.15 * MeanAbs(w, RoundToNearest(w, one, {}, {}, Serial()).Values()));
  EXPECT_FALSE(QuantizeProgressive(w, 100, Serial()).ok());
}

float LimitOf(ObserverKind kind, const Matrix& x) {
  auto observer = Observer::Create({.kind = kind, .percentile = 0.99});
  EXPECT_TRUE(observer.ok());
  for (int64_t i = 0; i < x.rows; ++i) EXPECT_TRUE(observer->Add(x.Row(i)).ok());
  const auto range = observer->Finish();
  EXPECT_TRUE(range.ok());
  return std::max(-range->min, range->max);
}

TEST(Observer, KindsDifferOnOutliers) {
  Matrix x = RandomMatrix(64, 512, 10);
  x.At(40, 100) = 100.0f;
  EXPECT_EQ(LimitOf(ObserverKind::kMinMax, x), 100.0f);
  const float average = LimitOf(ObserverKind::kMovingAverage, x);
  EXPECT_LT(average, 6.0f);
  EXPECT_GT(average, 2.5f);
  // 1 % of a normal distribution lies beyond 2.576.
  EXPECT_NEAR(LimitOf(ObserverKind::kPercentile, x), 2.576, 0.1);
  for (const ObserverKind kind : {ObserverKind::kEntropy, ObserverKind::kError}) {
    const float limit = LimitOf(kind, x);
    EXPECT_LT(limit, 100.0f);
    EXPECT_GT(limit, 2.0f);
  }
}

TEST(Observer, MinMaxIsAsymmetricAndIncludesZero) {
  auto observer = Observer::Create({});
  ASSERT_TRUE(observer.ok());
  EXPECT_FALSE(observer->Finish().ok());
  ASSERT_TRUE(observer->Add(std::vector<float>{1.0f, 5.0f}).ok());
  const auto range = observer->Finish();
  ASSERT_TRUE(range.ok());
  EXPECT_EQ(range->min, 0.0f);
  EXPECT_EQ(range->max, 5.0f);
  const CodeSpec spec{.bits = 8, .symmetric = false, .scale_type = kernels::ScalarType::kFp32};
  EXPECT_EQ(GridOf(*range, spec).scale, 5.0f / 255);
  EXPECT_FALSE(observer->Add(std::vector<float>{INFINITY}).ok());
  EXPECT_FALSE(Observer::Create({.percentile = 0}).ok());
  EXPECT_FALSE(Observer::Create({.averaging = 0}).ok());
  EXPECT_FALSE(Observer::Create({.levels = 0}).ok());
}

}  // namespace
}  // namespace baton
