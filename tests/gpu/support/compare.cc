#include "tests/gpu/support/compare.h"

#include <cmath>

namespace baton::kernels::cuda {
namespace {

bool SameKind(float a, float b) {
  if (std::isnan(a) || std::isnan(b)) return std::isnan(a) && std::isnan(b);
  if (std::isinf(a) || std::isinf(b)) return a == b;
  return true;
}

::testing::AssertionResult Kinds(std::span<const float> actual, std::span<const float> expected) {
  if (actual.size() != expected.size()) {
    return ::testing::AssertionFailure()
           << actual.size() << " values, expected " << expected.size();
  }
  for (size_t i = 0; i < actual.size(); ++i) {
    if (!SameKind(actual[i], expected[i])) {
      return ::testing::AssertionFailure() << "at " << i << " of " << actual.size() << ": "
                                           << actual[i] << ", expected " << expected[i];
    }
  }
  return ::testing::AssertionSuccess();
}

}  // namespace

::testing::AssertionResult NormClose(std::span<const float> actual, std::span<const float> expected,
                                     double bound) {
  if (auto kinds = Kinds(actual, expected); !kinds) return kinds;
  double error = 0.0;
  double norm = 0.0;
  for (size_t i = 0; i < actual.size(); ++i) {
    if (!std::isfinite(expected[i])) continue;
    const double difference = static_cast<double>(actual[i]) - expected[i];
    error += difference * difference;
    norm += static_cast<double>(expected[i]) * expected[i];
  }
  const double relative = norm > 0.0 ? std::sqrt(error / norm) : std::sqrt(error);
  if (relative <= bound) return ::testing::AssertionSuccess();
  return ::testing::AssertionFailure() << "norm error " << relative << ", bound " << bound;
}

::testing::AssertionResult ElementsClose(std::span<const float> actual,
                                         std::span<const float> expected, double absolute,
                                         double relative) {
  if (auto kinds = Kinds(actual, expected); !kinds) return kinds;
  for (size_t i = 0; i < actual.size(); ++i) {
    if (!std::isfinite(expected[i])) continue;
    const double error = std::fabs(static_cast<double>(actual[i]) - expected[i]);
    const double bound = absolute + relative * std::fabs(expected[i]);
    if (!(error <= bound)) {
      return ::testing::AssertionFailure() << "at " << i << ": " << actual[i] << ", expected "
                                           << expected[i] << ", bound " << bound;
    }
  }
  return ::testing::AssertionSuccess();
}

}  // namespace baton::kernels::cuda
