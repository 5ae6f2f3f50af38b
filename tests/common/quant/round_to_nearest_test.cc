#include "common/quant/round_to_nearest.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstring>
#include <limits>
#include <random>

#include "kernels/numeric/formats.h"

namespace baton {
namespace {

using kernels::CodeType;

class Source {
 public:
  Source(int64_t n, int64_t k, std::vector<float> values) : values_(std::move(values)) {
    view_.type = DataType::kF32;
    view_.shape = {n, k};
    view_.bytes = std::as_bytes(std::span(values_));
  }
  const TensorView& view() const { return view_; }
  float At(int64_t i) const { return values_[static_cast<size_t>(i)]; }

 private:
  std::vector<float> values_;
  TensorView view_;
};

QuantizedMatrix Quantize(const Source& source, int64_t group, CodeType type, int parts = 1) {
  QuantizedMatrix matrix =
      MakeQuantizedMatrix(source.view().shape[0], source.view().shape[1], group, type);
  for (int part = 0; part < parts; ++part) RoundToNearest(source.view(), matrix, part, parts);
  return matrix;
}

float Value(const QuantizedMatrix& m, int64_t row, int64_t column) {
  const auto g = static_cast<size_t>(row * m.groups() + column / m.group);
  const int zero = m.zeros.empty() ? 0 : m.zeros[g];
  if (m.codes_type == CodeType::kE4m3) {
    const auto code = static_cast<uint8_t>(m.codes[static_cast<size_t>(row * m.k + column)]);
    return kernels::FloatFromFp16(m.scales[g]) * kernels::FloatFromE4m3(code);
  }
  return kernels::FloatFromFp16(m.scales[g]) *
         static_cast<float>(m.codes[static_cast<size_t>(row * m.k + column)] - zero);
}

TEST(RoundToNearest, Int8ScaleIsAmaxOver127RoundedToFp16) {
  const Source source(1, 4, {1.0f, -2.0f, 0.5f, 0.007f});
  const QuantizedMatrix m = Quantize(source, 4, CodeType::kInt8);
  EXPECT_EQ(m.scales[0], kernels::Fp16FromFloat(2.0f / 127));
  EXPECT_EQ(m.codes, (std::vector<int8_t>{64, -127, 32, 0}));
}

TEST(RoundToNearest, Fp8ScaleIsAmaxOver448RoundedToFp16) {
  const Source source(1, 4, {1.0f, -2.0f, 0.5f, 0.007f});
  const QuantizedMatrix m = Quantize(source, 4, CodeType::kE4m3);
  EXPECT_EQ(m.scales[0], kernels::Fp16FromFloat(2.0f / 448));
  const float s = kernels::FloatFromFp16(m.scales[0]);
  for (size_t i = 0; i < 4; ++i) {
    EXPECT_EQ(static_cast<uint8_t>(m.codes[i]),
              kernels::E4m3FromFloat(source.At(static_cast<int64_t>(i)) / s));
  }
  EXPECT_EQ(static_cast<uint8_t>(m.codes[1]), 0xFE);  // −448: the scale was rounded down or not
}

TEST(RoundToNearest, SymmetricInt4UsesBothEnds) {
  // s = 8 / 7.5 in fp16 = 1.0664…; −8 / s = −7.5 rounds to even, 8 / s = 7.5 is clamped to 7.
  const Source source(1, 4, {-8.0f, 8.0f, 0.0f, 1.0f});
  const QuantizedMatrix m = Quantize(source, 4, CodeType::kInt4);
  EXPECT_EQ(m.scales[0], kernels::Fp16FromFloat(8.0f / 7.5f));
  EXPECT_EQ(m.codes[1], 7);
  EXPECT_EQ(m.codes[2], 0);
  EXPECT_EQ(m.codes[3], 1);
  EXPECT_TRUE(m.zeros.empty());
}

TEST(RoundToNearest, AsymmetricInt4IncludesZero) {
  const Source source(2, 4, {1.0f, 2.0f, 3.0f, 15.0f, -5.0f, 10.0f, 0.0f, 2.4f});
  const QuantizedMatrix m = Quantize(source, 4, CodeType::kUint4);
  EXPECT_EQ(kernels::FloatFromFp16(m.scales[0]), 1.0f);
  EXPECT_EQ(m.zeros[0], 0);
  EXPECT_EQ(kernels::FloatFromFp16(m.scales[1]), 1.0f);
  EXPECT_EQ(m.zeros[1], 5);
  EXPECT_EQ(m.codes, (std::vector<int8_t>{1, 2, 3, 15, 0, 15, 5, 7}));
}

TEST(RoundToNearest, TiesGoToEven) {
  const Source source(1, 4, {127.0f, 0.5f, 1.5f, -2.5f});
  EXPECT_EQ(Quantize(source, 4, CodeType::kInt8).codes, (std::vector<int8_t>{127, 0, 2, -2}));
}

TEST(RoundToNearest, ZeroGroupsAndNumbersTooSmallForAScale) {
  for (const CodeType type :
       {CodeType::kInt8, CodeType::kInt4, CodeType::kUint4, CodeType::kE4m3}) {
    const Source source(1, 8, {0, 0, 0, 0, 1e-12f, -1e-12f, 0, 0});
    const QuantizedMatrix m = Quantize(source, 4, type);
    for (int64_t k = 0; k < 8; ++k) EXPECT_EQ(Value(m, 0, k), 0.0f);
    EXPECT_EQ(m.scales[0], kernels::Fp16FromFloat(1.0f));
  }
}

TEST(RoundToNearest, ANonFiniteGroupIsNaNAndDisturbsNoOther) {
  const float inf = std::numeric_limits<float>::infinity();
  const Source source(1, 8, {1, 2, inf, 0, 1, 2, 3, 4});
  const QuantizedMatrix m = Quantize(source, 4, CodeType::kInt8);
  EXPECT_TRUE(std::isnan(Value(m, 0, 0)));
  EXPECT_NEAR(Value(m, 0, 7), 4.0f, 0.02f);
}

// |w − value| ≤ s / 2, plus what rounding s to fp16 (half an ulp, 2^−11) moves the largest code,
// plus for asymmetric codes what rounding the zero point may cut off at the ends.
TEST(RoundToNearest, ErrorStaysWithinHalfAStep) {
  constexpr uint32_t kSeed = 7;
  std::mt19937 rng(kSeed);
  std::normal_distribution<float> normal(0.0f, 0.05f);
  constexpr int64_t kRows = 13;
  constexpr int64_t kColumns = 256;
  std::vector<float> values(kRows * kColumns);
  for (float& v : values) v = normal(rng);
  const Source source(kRows, kColumns, values);
  struct Case {
    CodeType type;
    int64_t group;
    float steps;
  };
  // Symmetric INT4 clamps +7.5 to 7: half a step more at one end, which is within 1.
  for (const Case& c : {Case{CodeType::kInt8, 256, 0.5f + 127.0f / 2048},
                        Case{CodeType::kInt4, 64, 0.5f + 8.0f / 2048},
                        Case{CodeType::kUint4, 128, 1.0f + 15.0f / 2048}}) {
    const QuantizedMatrix m = Quantize(source, c.group, c.type, 3);
    for (int64_t row = 0; row < kRows; ++row) {
      for (int64_t k = 0; k < kColumns; ++k) {
        const float s =
            kernels::FloatFromFp16(m.scales[static_cast<size_t>(row * m.groups() + k / m.group)]);
        ASSERT_LE(std::abs(Value(m, row, k) - source.At(row * kColumns + k)), s * c.steps)
            << "seed " << kSeed << " row " << row << " column " << k;
      }
    }
  }
}

TEST(RoundToNearest, PartsGiveTheWhole) {
  std::vector<float> values(7 * 32);
  for (size_t i = 0; i < values.size(); ++i) values[i] = std::sin(static_cast<float>(i));
  const Source source(7, 32, values);
  const QuantizedMatrix whole = Quantize(source, 32, CodeType::kUint4, 1);
  for (int parts = 2; parts <= 9; ++parts) {
    const QuantizedMatrix split = Quantize(source, 32, CodeType::kUint4, parts);
    EXPECT_EQ(split.codes, whole.codes);
    EXPECT_EQ(split.scales, whole.scales);
    EXPECT_EQ(split.zeros, whole.zeros);
  }
}

TEST(ToFloat, ReadsEachTypeAtAnyAddress) {
  const std::vector<float> expected = {1.5f, -0.25f, 3.0f};
  std::vector<std::byte> storage(1 + 3 * 4);
  TensorView view;
  view.shape = {3};
  float out[3];
  for (const DataType type : {DataType::kF32, DataType::kF16, DataType::kBf16}) {
    for (size_t i = 0; i < 3; ++i) {
      if (type == DataType::kF32) {
        std::memcpy(storage.data() + 1 + i * 4, &expected[i], 4);
      } else {
        const uint16_t code = type == DataType::kF16 ? kernels::Fp16FromFloat(expected[i])
                                                     : kernels::Bf16FromFloat(expected[i]);
        std::memcpy(storage.data() + 1 + i * 2, &code, 2);
      }
    }
    view.type = type;
    view.bytes = std::span(storage).subspan(1, 3 * static_cast<size_t>(SizeOf(type)));
    ToFloat(view, 0, 3, out);
    for (size_t i = 0; i < 3; ++i) EXPECT_EQ(out[i], expected[i]);
    ToFloat(view, 2, 1, out);
    EXPECT_EQ(out[0], expected[2]);
  }
}

}  // namespace
}  // namespace baton
