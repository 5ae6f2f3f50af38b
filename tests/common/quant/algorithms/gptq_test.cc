#include "common/quant/algorithms/gptq.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>

#include "common/base/status.h"
#include "common/quant/algorithms/code_descent.h"
#include "tests/common/quant/algorithms/random_layer.h"

namespace baton {
namespace {

using ::testing::HasSubstr;

constexpr CodeSpec kSpec{.bits = 4, .symmetric = false, .group = 8};

// The definition: columns are rounded one by one; before each, the columns not rounded yet take the
// values that minimize the error of the whole row, found by solving the normal equations anew.
std::vector<int> DirectCodes(const Matrix& w, int64_t row, const Matrix& damped,
                             const std::vector<int64_t>& order, const CodedMatrix& grids) {
  const int64_t k = w.cols;
  std::vector<double> d(static_cast<size_t>(k));  // original − rounded
  std::vector<int> codes(static_cast<size_t>(k));
  for (int64_t step = 0; step < k; ++step) {
    const int64_t left = k - step;
    std::vector<double> a(static_cast<size_t>(left * left));
    std::vector<double> b(static_cast<size_t>(left));
    for (int64_t i = 0; i < left; ++i) {
      for (int64_t j = 0; j < left; ++j) {
        a[static_cast<size_t>(i * left + j)] = damped.At(order[step + i], order[step + j]);
      }
      for (int64_t f = 0; f < step; ++f) {
        b[static_cast<size_t>(i)] -=
            static_cast<double>(damped.At(order[step + i], order[f])) * d[order[f]];
      }
    }
    EXPECT_TRUE(SolveSmall(left, a.data(), b.data()));
    const int64_t column = order[step];
    const Grid grid = grids.GridAt(row, column);
    const auto target = static_cast<float>(w.At(row, column) - b[0]);
    codes[static_cast<size_t>(column)] = Encode(target, grid, grids.spec);
    d[static_cast<size_t>(column)] =
        w.At(row, column) - Decode(codes[static_cast<size_t>(column)], grid, grids.spec);
  }
  return codes;
}

class GptqOrder : public testing::TestWithParam<bool> {};

TEST_P(GptqOrder, IsTheDirectSolution) {
  const Matrix w = RandomMatrix(6, 24, 1);
  const Matrix gram = GramOf(RandomInputs(200, 24, 2));
  // Blocks smaller than the matrix, so that both kinds of updates are at work.
  const GptqOptions options{.damping = 0.01, .block = 5, .act_order = GetParam()};
  const auto result = Gptq(w, gram, kSpec, options, Serial());
  ASSERT_TRUE(result.ok()) << ToString(result.status());
  Matrix damped = gram;
  double mean = 0;
  for (int64_t j = 0; j < 24; ++j) mean += gram.At(j, j) / 24.0;
  for (int64_t j = 0; j < 24; ++j) damped.At(j, j) += static_cast<float>(0.01 * mean);
  std::vector<int64_t> order(24);
  std::iota(order.begin(), order.end(), 0);
  if (GetParam()) {
    std::stable_sort(order.begin(), order.end(),
                     [&](int64_t a, int64_t b) { return gram.At(a, a) > gram.At(b, b); });
  }
  for (int64_t row = 0; row < w.rows; ++row) {
    const std::vector<int> codes = DirectCodes(w, row, damped, order, result->coded);
    for (int64_t j = 0; j < w.cols; ++j) {
      EXPECT_EQ(result->coded.Code(row, j), codes[static_cast<size_t>(j)]) << row << ", " << j;
    }
  }
}
INSTANTIATE_TEST_SUITE_P(Orders, GptqOrder, testing::Bool());

TEST(Gptq, IsBetterThanNearestAndEachStepIsNoWorse) {
  const Matrix w = RandomMatrix(32, 64, 3);
  const Matrix gram = GramOf(RandomInputs(500, 64, 4));
  const CodeSpec spec{.bits = 4, .symmetric = false, .group = 32};
  const double nearest = ErrorOf(w, RoundToNearest(w, spec, {}, {}, Serial()).Values(), gram);
  const auto plain = Gptq(w, gram, spec, {}, Serial());
  const auto refitted = Gptq(w, gram, spec, {.refits = 2}, Serial());
  const auto swept = Gptq(w, gram, spec, {.refits = 2, .sweeps = 3}, Serial());
  ASSERT_TRUE(plain.ok() && refitted.ok() && swept.ok());
  EXPECT_LT(plain->error, 0.8 * nearest);
  EXPECT_LE(refitted->error, plain->error);
  EXPECT_LE(swept->error, refitted->error);
  // What is reported is what the codes give.
  EXPECT_NEAR(swept->error, ErrorOf(w, swept->coded.Values(), gram), 1e-4 * swept->error);
}

TEST(Gptq, PartsDoNotChangeTheResult) {
  const Matrix w = RandomMatrix(37, 48, 5);
  const Matrix gram = GramOf(RandomInputs(200, 48, 6));
  const Parallel three = [](const std::function<void(int, int)>& fn) {
    for (int part = 0; part < 3; ++part) fn(part, 3);
  };
  const GptqOptions options{.range = {.search = RangeSearch::kOutput}, .refits = 1, .sweeps = 2};
  const CodeSpec spec{.bits = 3, .symmetric = true, .group = 16};
  const auto one = Gptq(w, gram, spec, options, Serial());
  const auto many = Gptq(w, gram, spec, options, three);
  ASSERT_TRUE(one.ok() && many.ok());
  EXPECT_EQ(one->coded.codes, many->coded.codes);
  EXPECT_EQ(one->coded.scales, many->coded.scales);
}

TEST(Gptq, DeadColumnsAreZero) {
  const Matrix w = RandomMatrix(4, 16, 7);
  Matrix x = RandomInputs(50, 16, 8);
  for (int64_t i = 0; i < x.rows; ++i) x.At(i, 5) = 0;
  const auto result = Gptq(w, GramOf(x), kSpec, {}, Serial());
  ASSERT_TRUE(result.ok());
  for (int64_t i = 0; i < w.rows; ++i) EXPECT_EQ(result->coded.Values().At(i, 5), 0.0f);
}

TEST(Gptq, RaisesTheDampingWhenFewInputsLeaveTheHessianSingular) {
  const Matrix w = RandomMatrix(4, 64, 9);
  // Three inputs: rank 3 of 64. So little damping does not survive fp32.
  const auto result = Gptq(w, GramOf(RandomInputs(3, 64, 10)), kSpec, {.damping = 1e-9}, Serial());
  ASSERT_TRUE(result.ok()) << ToString(result.status());
  EXPECT_GT(result->damping, 1e-9);
}

TEST(Gptq, GroupsAreRefittedToWhatEarlierColumnsLeft) {
  const Matrix w = RandomMatrix(16, 32, 11);
  const Matrix gram = GramOf(RandomInputs(300, 32, 12));
  const auto fixed = Gptq(w, gram, kSpec, {.act_order = false}, Serial());
  const auto refitted =
      Gptq(w, gram, kSpec, {.act_order = false, .static_groups = false}, Serial());
  ASSERT_TRUE(fixed.ok() && refitted.ok());
  // The first group sees the weights themselves; later ones do not.
  EXPECT_EQ(fixed->coded.scales[0], refitted->coded.scales[0]);
  EXPECT_NE(fixed->coded.scales, refitted->coded.scales);
}

TEST(Gptq, Fp8Codes) {
  const Matrix w = RandomMatrix(8, 32, 13);
  const Matrix gram = GramOf(RandomInputs(200, 32, 14));
  const CodeSpec spec{.kind = CodeKind::kFp8, .bits = 8};
  const auto result = Gptq(w, gram, spec, {}, Serial());
  ASSERT_TRUE(result.ok());
  EXPECT_LT(result->error, ErrorOf(w, RoundToNearest(w, spec, {}, {}, Serial()).Values(), gram));
}

TEST(Gptq, RefusesBadInput) {
  const Matrix w = RandomMatrix(2, 16, 15);
  const Matrix gram = GramOf(RandomInputs(40, 16, 16));
  const auto message = [&](const CodeSpec& spec, const GptqOptions& options) {
    return std::string(MessageOf(Gptq(w, gram, spec, options, Serial()).status()));
  };
  EXPECT_THAT(message({.bits = 9}, {}), HasSubstr("bits: 9"));
  EXPECT_THAT(message({.bits = 4, .block_rows = 2}, {}), HasSubstr("block_rows: 2"));
  EXPECT_THAT(message(kSpec, {.damping = 0}), HasSubstr("damping: 0"));
  EXPECT_THAT(message(kSpec, {.block = 0}), HasSubstr("block: 0"));
  EXPECT_THAT(message(kSpec, {.static_groups = false}), HasSubstr("static_groups"));
  EXPECT_FALSE(Gptq(w, Matrix(3, 3), kSpec, {}, Serial()).ok());
  EXPECT_THAT(std::string(MessageOf(Gptq(w, Matrix(16, 16), kSpec, {}, Serial()).status())),
              HasSubstr("Hessian"));
  Matrix broken = w;
  broken.At(1, 1) = std::numeric_limits<float>::quiet_NaN();
  EXPECT_THAT(std::string(MessageOf(Gptq(broken, gram, kSpec, {}, Serial()).status())),
              HasSubstr("finite"));
}

TEST(InverseCholesky, ItsSquareIsTheInverse) {
  const Matrix x = RandomMatrix(100, 12, 17);
  const Matrix h = GramOf(x);
  const auto upper = InverseCholesky(h);
  ASSERT_TRUE(upper.ok());
  for (int64_t i = 0; i < 12; ++i) {
    for (int64_t j = 0; j < 12; ++j) {
      double sum = 0;  // (Uᵀ U h)[i, j]
      for (int64_t a = 0; a < 12; ++a) {
        double inverse = 0;
        for (int64_t b = 0; b <= std::min(i, a); ++b) inverse += upper->At(b, i) * upper->At(b, a);
        sum += inverse * h.At(a, j);
      }
      EXPECT_NEAR(sum, i == j ? 1.0 : 0.0, 1e-4);
      if (j < i) {
        EXPECT_EQ(upper->At(i, j), 0.0f);
      }
    }
  }
  EXPECT_FALSE(InverseCholesky(Matrix(4, 4)).ok());
}

TEST(AddGram, IsTheSumOfProducts) {
  const Matrix x = RandomMatrix(5, 300, 18);  // more than one tile
  const Matrix gram = GramOf(x);
  for (const auto& [i, j] : {std::pair<int64_t, int64_t>{0, 0}, {3, 299}, {299, 3}, {270, 260}}) {
    float sum = 0;
    for (int64_t t = 0; t < 5; ++t) sum += x.At(t, i) * x.At(t, j);
    EXPECT_NEAR(gram.At(i, j), sum, 1e-5);
  }
}

TEST(CodeDescent, NeverRaisesTheErrorOfARow) {
  const Matrix w = RandomMatrix(12, 32, 19);
  const Matrix gram = GramOf(RandomInputs(200, 32, 20));
  CodedMatrix coded = RoundToNearest(w, kSpec, {}, {}, Serial());
  const auto errors = [&] {
    std::vector<double> rows;
    const Matrix values = coded.Values();
    for (int64_t i = 0; i < w.rows; ++i) {
      Matrix a(1, w.cols);
      Matrix b(1, w.cols);
      std::copy_n(w.Row(i).data(), w.cols, a.Row(0).data());
      std::copy_n(values.Row(i).data(), w.cols, b.Row(0).data());
      rows.push_back(ErrorOf(a, b, gram));
    }
    return rows;
  };
  std::vector<double> before = errors();
  for (const bool scales : {true, false}) {
    scales ? RefitScales(w, gram, Serial(), coded) : DescendCodes(w, gram, 3, Serial(), coded);
    const std::vector<double> after = errors();
    for (size_t i = 0; i < after.size(); ++i) EXPECT_LE(after[i], before[i] * 1.00001) << i;
    EXPECT_LT(std::accumulate(after.begin(), after.end(), 0.0),
              std::accumulate(before.begin(), before.end(), 0.0));
    before = after;
  }
}

}  // namespace
}  // namespace baton
