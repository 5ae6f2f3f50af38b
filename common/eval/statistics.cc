#include "common/eval/statistics.h"

#include <cmath>
#include <limits>
#include <numbers>
#include <vector>

#include "common/base/check.h"

namespace baton {
namespace {

// P(|T| < t).
double StudentWithin(double t, int degrees) {
  const double angle = std::atan(t / std::sqrt(static_cast<double>(degrees)));
  const double cosine = std::cos(angle);
  const double sine = std::sin(angle);
  const bool odd = degrees % 2 == 1;
  double term = odd ? cosine : 1;
  double sum = degrees > 1 ? term : 0;
  for (int i = odd ? 3 : 2; i <= degrees - 2; i += 2) {
    term *= cosine * cosine * (i - 1) / i;
    sum += term;
  }
  return odd ? 2 / std::numbers::pi * (angle + sine * sum) : sine * sum;
}

template <typename Function>
Interval Map(const Interval& interval, Function fn) {
  return {fn(interval.mean), fn(interval.low), fn(interval.high)};
}

}  // namespace

double StudentTwoSided95(int degrees) {
  BATON_CHECK(degrees >= 1);
  constexpr double kWithin = 0.95;
  double low = 0;
  double high = 16;  // the largest, of one degree, is 12.7
  for (int i = 0; i < 60; ++i) {
    const double middle = (low + high) / 2;
    (StudentWithin(middle, degrees) < kWithin ? low : high) = middle;
  }
  return high;
}

Interval MeanInterval(std::span<const double> samples) {
  BATON_CHECK(!samples.empty());
  const auto count = static_cast<double>(samples.size());
  double mean = 0;
  for (const double sample : samples) mean += sample / count;
  if (samples.size() == 1) {
    constexpr double kInfinity = std::numeric_limits<double>::infinity();
    return {mean, -kInfinity, kInfinity};
  }
  double squares = 0;
  for (const double sample : samples) squares += (sample - mean) * (sample - mean);
  const double error = std::sqrt(squares / (count - 1) / count);
  const double reach = error * StudentTwoSided95(static_cast<int>(samples.size()) - 1);
  return {mean, mean - reach, mean + reach};
}

Interval Perplexity(std::span<const double> window_nll) {
  return Map(MeanInterval(window_nll), [](double x) { return std::exp(x); });
}

Interval PerplexityIncrease(std::span<const double> window_nll, std::span<const double> baseline) {
  BATON_CHECK(window_nll.size() == baseline.size());
  std::vector<double> differences;
  for (size_t i = 0; i < baseline.size(); ++i) differences.push_back(window_nll[i] - baseline[i]);
  return Map(MeanInterval(differences), [](double x) { return std::expm1(x); });
}

}  // namespace baton
