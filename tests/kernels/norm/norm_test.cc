#include "kernels/norm/norm.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "tests/kernels/kv_page/targets.h"
#include "tests/kernels/kv_page/test_cache.h"

namespace baton::kernels {
namespace {

struct Case {
  int rows, groups, dim;
  bool residual;
};

struct Result {
  std::vector<float> out;
  std::vector<float> residual;
};

Result RunNorm(const Case& c, const std::vector<float>& x,
               void (*kernel)(const RmsNormParams&, int, int), int parts) {
  const int width = c.groups * c.dim;
  Result result{std::vector<float>(c.rows * (width + 1), 9.0f), RandomFloats(c.rows * width, 2)};
  const std::vector<float> weight = RandomFloats(c.dim, 3);
  RmsNormParams params{.x = x.data(),
                       .x_stride = width + 2,
                       .weight = weight.data(),
                       .eps = 1e-5f,
                       .out = result.out.data(),
                       .out_stride = width + 1,
                       .rows = c.rows,
                       .groups = c.groups,
                       .dim = c.dim};
  if (c.residual) {
    params.residual = result.residual.data();
    params.residual_stride = width;
  }
  if (kernel == nullptr) {
    RmsNormReference(params);
  } else {
    RunParts(kernel, params, parts);
  }
  return result;
}

TEST(RmsNormTest, MatchesReference) {
  ForEachTarget([] {
    for (const Case& c : {Case{1, 1, 1, false}, Case{3, 1, 17, true}, Case{5, 1, 512, true},
                          Case{2, 4, 128, false}, Case{4, 1, 1000, false}, Case{2, 3, 80, true}}) {
      const auto x = RandomFloats(c.rows * (c.groups * c.dim + 2), 1);
      const Result expected = RunNorm(c, x, nullptr, 1);
      for (const int parts : {1, 2, 7}) {
        const Result actual = RunNorm(c, x, RmsNormCpu, parts);
        EXPECT_EQ(actual.residual, expected.residual);  // one addition: exact
        for (size_t i = 0; i < expected.out.size(); ++i) {
          // The sum of squares has no cancellation: dim roundings of at most 2^-24 each grow like
          // dim / lanes; the rest of the formula adds five.
          const double bound = (c.dim / 4.0 + 8) * 0x1p-24 * std::fabs(expected.out[i]) + 1e-30;
          ASSERT_NEAR(actual.out[i], expected.out[i], bound) << c.dim << " at " << i;
        }
      }
    }
  });
}

TEST(RmsNormTest, RowBitsDoNotDependOnTheBatch) {
  ForEachTarget([] {
    const Case c{9, 1, 300, false};
    const auto x = RandomFloats(c.rows * (c.dim + 2), 5);
    const Result whole = RunNorm(c, x, RmsNormCpu, 4);
    for (int row = 0; row < c.rows; ++row) {
      const std::vector<float> one(x.begin() + row * (c.dim + 2),
                                   x.begin() + (row + 1) * (c.dim + 2));
      const Result single = RunNorm({1, 1, c.dim, false}, one, RmsNormCpu, 1);
      for (int i = 0; i < c.dim; ++i) ASSERT_EQ(single.out[i], whole.out[row * (c.dim + 1) + i]);
    }
  });
}

TEST(RmsNormTest, NanStaysInItsRow) {
  ForEachTarget([] {
    const Case c{3, 1, 64, false};
    auto x = RandomFloats(c.rows * (c.dim + 2), 5);
    x[66 + 10] = std::numeric_limits<float>::quiet_NaN();
    const Result result = RunNorm(c, x, RmsNormCpu, 1);
    for (int i = 0; i < 64; ++i) {
      EXPECT_FALSE(std::isnan(result.out[i]));
      EXPECT_TRUE(std::isnan(result.out[65 + i]));
      EXPECT_FALSE(std::isnan(result.out[130 + i]));
    }
  });
}

TEST(RmsNormTest, ResidualOnly) {
  std::vector<float> x = {1, 2, 3};
  std::vector<float> residual = {10, 20, 30};
  RmsNormCpu({.x = x.data(),
              .x_stride = 3,
              .residual = residual.data(),
              .residual_stride = 3,
              .rows = 1,
              .dim = 3},
             0, 1);
  EXPECT_EQ(residual, (std::vector<float>{11, 22, 33}));
}

}  // namespace
}  // namespace baton::kernels
