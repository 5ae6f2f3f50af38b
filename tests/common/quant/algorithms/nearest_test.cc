#include "common/quant/algorithms/nearest.h"

#include <gtest/gtest.h>

#include <cmath>

#include "common/base/status.h"
#include "kernels/numeric/formats.h"
#include "tests/common/quant/algorithms/random_layer.h"

namespace baton {
namespace {

using kernels::ScalarType;

TEST(CodeSpec, RangesAndScalesOfTheFormats) {
  const auto scale = [](const CodeSpec& spec) { return MinMaxGrid(-6, 3, spec).scale; };
  EXPECT_EQ(scale({.bits = 8, .scale_type = ScalarType::kFp32}), 6.0f / 127);
  EXPECT_EQ(scale({.bits = 4, .scale_type = ScalarType::kFp32}), 6.0f / 7.5f);
  EXPECT_EQ(scale({.kind = CodeKind::kFp8, .scale_type = ScalarType::kFp32}), 6.0f / 448);
  const CodeSpec asymmetric{.bits = 4, .symmetric = false, .scale_type = ScalarType::kFp32};
  EXPECT_EQ(scale(asymmetric), 9.0f / 15);
  EXPECT_EQ(MinMaxGrid(-6, 3, asymmetric).zero, 10);
  EXPECT_EQ(MinMaxGrid(2, 3, asymmetric).zero, 0);  // 0 is inside the range
  EXPECT_EQ(MinMaxGrid(0, 0, asymmetric).scale, 1.0f);
  EXPECT_EQ((CodeSpec{.bits = 8}.low()), -127);
  EXPECT_EQ((CodeSpec{.bits = 3}.low()), -4);
  EXPECT_EQ((CodeSpec{.bits = 3, .symmetric = false}.high()), 7);
}

TEST(CodeSpec, EncodeRoundsTiesToEvenAndClamps) {
  const CodeSpec spec{.bits = 4, .symmetric = false};
  const Grid grid{0.5f, 3};
  EXPECT_EQ(Encode(0.25f, grid, spec), 3);
  EXPECT_EQ(Encode(0.75f, grid, spec), 5);
  EXPECT_EQ(Encode(-100.0f, grid, spec), 0);
  EXPECT_EQ(Encode(100.0f, grid, spec), 15);
  EXPECT_EQ(Decode(15, grid, spec), 6.0f);
}

struct Strategy {
  const char* name;
  CodeSpec spec;
  size_t scales;
};
class Strategies : public testing::TestWithParam<Strategy> {};

TEST_P(Strategies, EveryValueIsWithinHalfAStepOfItsScale) {
  const Matrix w = RandomMatrix(12, 32, 1);
  const CodedMatrix coded = RoundToNearest(w, GetParam().spec, {}, {}, Serial());
  EXPECT_EQ(coded.scales.size(), GetParam().scales);
  const Matrix values = coded.Values();
  for (int64_t i = 0; i < w.rows; ++i) {
    for (int64_t j = 0; j < w.cols; ++j) {
      // Half a step; at a symmetric end half of it more; e4m3 has steps of 1/8 of the value.
      const float step = coded.spec.kind == CodeKind::kFp8
                             ? std::max(std::abs(w.At(i, j)) / 8, coded.GridAt(i, j).scale / 256)
                             : coded.GridAt(i, j).scale;
      EXPECT_LE(std::abs(values.At(i, j) - w.At(i, j)), step * 0.53f) << i << ", " << j;
    }
  }
}
INSTANTIATE_TEST_SUITE_P(
    All, Strategies,
    testing::Values(Strategy{"tensor", {.bits = 8, .group = 0, .block_rows = 0}, 1},
                    Strategy{"channel", {.bits = 8}, 12},
                    Strategy{"group", {.bits = 4, .symmetric = false, .group = 16}, 24},
                    Strategy{"short group", {.bits = 4, .symmetric = false, .group = 20}, 24},
                    Strategy{"block", {.bits = 8, .group = 16, .block_rows = 8}, 4},
                    Strategy{"fp8 channel", {.kind = CodeKind::kFp8, .bits = 8}, 12},
                    Strategy{"fp8 block",
                             {.kind = CodeKind::kFp8, .bits = 8, .group = 16, .block_rows = 4},
                             6}),
    [](const auto& info) {
      std::string name = info.param.name;
      std::replace(name.begin(), name.end(), ' ', '_');
      return name;
    });

TEST(RangeSearch, NeverWorseByItsOwnMeasure) {
  const Matrix w = RandomMatrix(16, 64, 2);
  const Matrix gram = GramOf(RandomInputs(200, 64, 3));
  const CodeSpec spec{.bits = 3, .symmetric = false, .group = 64};
  const CodedMatrix plain = RoundToNearest(w, spec, {}, {}, Serial());
  const CodedMatrix mse = RoundToNearest(w, spec, {.search = RangeSearch::kError}, {}, Serial());
  CodedMatrix output = MakeCodedMatrix(16, 64, spec);
  FitGridsToOutput(w, gram, {.search = RangeSearch::kOutput}, Serial(), output);
  EncodeNearest(w, Serial(), output);
  Matrix identity(64, 64);
  for (int64_t j = 0; j < 64; ++j) identity.At(j, j) = 1;
  EXPECT_LT(ErrorOf(w, mse.Values(), identity), ErrorOf(w, plain.Values(), identity));
  // One group per row: the search sees the whole error.
  EXPECT_LT(ErrorOf(w, output.Values(), gram), ErrorOf(w, plain.Values(), gram));
}

TEST(RangeSearch, ImportanceDecidesWhatIsClipped) {
  std::vector<float> w(64, 0.1f);
  for (size_t i = 0; i < w.size(); ++i) w[i] *= static_cast<float>(i % 7) - 3;
  w[10] = 2.0f;
  std::vector<float> importance(64, 1.0f);
  const CodeSpec spec{.bits = 4, .symmetric = true};
  const RangeOptions options{.search = RangeSearch::kError, .max_shrink = 0.9f, .steps = 90};
  importance[10] = 1e-4f;
  EXPECT_LT(FitGrid(w, importance, spec, options).scale, 0.1f);
  importance[10] = 1e4f;
  EXPECT_GT(FitGrid(w, importance, spec, options).scale, 0.2f);
}

TEST(RoundTokens, IsInt8PerRow) {
  std::vector<float> x = {1.0f, -2.0f, 0.5f, 100.0f, 0.3f, -50.0f};
  const std::vector<float> before = x;
  RoundTokens(x, 3, CodeKind::kInt);
  for (size_t i = 0; i < x.size(); ++i) {
    const float scale = (i < 3 ? 2.0f : 100.0f) / 127.0f;
    EXPECT_EQ(x[i], scale * std::nearbyint(before[i] / scale));
  }
}

TEST(Validate, NamesTheField) {
  EXPECT_EQ(MessageOf(Validate({.bits = 1}, 8)), "bits: 1, expected 2 to 8");
  EXPECT_EQ(MessageOf(Validate({.bits = 4, .group = 9}, 8)),
            "group: 9, expected 0 to the 8 columns");
  EXPECT_FALSE(Validate({.kind = CodeKind::kFp8, .symmetric = false}, 8).ok());
  EXPECT_TRUE(Validate({.bits = 4, .group = 8}, 8).ok());
}

}  // namespace
}  // namespace baton
