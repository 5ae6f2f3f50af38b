#include "kernels/kv_page/kv_codec.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/numeric/formats.h"
#include "tests/kernels/kv_page/test_cache.h"

namespace baton::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();
constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Coded {
  std::vector<std::byte> codes;
  uint16_t s = 0;
  uint16_t m = 0;
  std::vector<float> values;
};

Coded Code(KvFormat format, const std::vector<float>& x) {
  Coded coded;
  const int dim = static_cast<int>(x.size());
  coded.codes.resize(KvCodeBytes(format, dim));
  std::byte scale[4] = {};
  EncodeKvGroup(format, x.data(), dim, coded.codes.data(), scale);
  std::memcpy(&coded.s, scale, 2);
  std::memcpy(&coded.m, scale + 2, 2);
  coded.values.resize(x.size());
  DecodeKvGroup(format, coded.codes.data(), scale, dim, coded.values.data());
  return coded;
}

double Ulp16(double m) {
  const double magnitude = std::max(std::fabs(m), 0x1p-14);
  return std::exp2(std::floor(std::log2(magnitude)) - 10);
}

TEST(KvCodecTest, Int8ByHand) {
  std::vector<float> x(16, 0.0f);
  x[0] = 127.0f;
  x[1] = -127.0f;
  x[2] = 2.5f;  // ties to even
  x[3] = 3.5f;
  x[4] = -0.5f;
  const Coded coded = Code(KvFormat::kInt8, x);
  EXPECT_EQ(coded.s, Fp16FromFloat(1.0f));
  const int expected[] = {127, -127, 2, 4, 0, 0};
  for (int i = 0; i < 6; ++i) EXPECT_EQ(static_cast<int8_t>(coded.codes[i]), expected[i]) << i;
}

TEST(KvCodecTest, Int4ByHand) {
  std::vector<float> x(16, -1.0f);
  x[1] = 14.0f;  // range 15: s = 1, m = -1
  x[2] = 1.5f;   // (1.5 + 1) / 1 = 2.5 -> 2
  x[3] = 2.5f;   // 3.5 -> 4
  const Coded coded = Code(KvFormat::kInt4, x);
  EXPECT_EQ(coded.s, Fp16FromFloat(1.0f));
  EXPECT_EQ(coded.m, Fp16FromFloat(-1.0f));
  EXPECT_EQ(static_cast<int>(coded.codes[0]), 0xF0);  // low nibble: dimension 0
  EXPECT_EQ(static_cast<int>(coded.codes[1]), 0x42);
  EXPECT_EQ(coded.values[1], 14.0f);
  EXPECT_EQ(coded.values[3], 3.0f);
}

TEST(KvCodecTest, ScaleRules) {
  // Rounds to nothing in fp16, but is not zero.
  EXPECT_EQ(KvSymmetricScale(0x1p-30f, 127.0f), 0x0001);
  EXPECT_EQ(KvSymmetricScale(std::numeric_limits<float>::denorm_min(), 448.0f), 0x0001);
  EXPECT_EQ(KvSymmetricScale(0.0f, 127.0f), 0);
  EXPECT_EQ(KvSymmetricScale(3e38f, 127.0f), kFp16Max);
  EXPECT_EQ(KvAffineScale(1.0f, 1.0f).s, 0);
  EXPECT_EQ(KvAffineScale(0.0f, 0x1p-30f).s, 0x0001);
  EXPECT_EQ(KvAffineScale(-3e38f, 3e38f).s, kFp16Max);
  EXPECT_EQ(KvAffineScale(-3e38f, 3e38f).m, kFp16Max | 0x8000);
  EXPECT_EQ(KvAffineScale(-0.0f, 0.0f).m, 0);
}

TEST(KvCodecTest, ConstantGroupKeepsItsValueInInt4) {
  const Coded coded = Code(KvFormat::kInt4, std::vector<float>(32, 0.75f));
  EXPECT_EQ(coded.s, 0);
  for (const float value : coded.values) EXPECT_EQ(value, 0.75f);
}

TEST(KvCodecTest, NonFiniteGroupBecomesNanInScaledFormats) {
  for (const KvFormat format : {KvFormat::kFp8E4m3, KvFormat::kInt8, KvFormat::kInt4}) {
    for (const float bad : {kInf, -kInf, kNan}) {
      std::vector<float> x(48, 1.0f);
      x[47] = bad;
      const Coded coded = Code(format, x);
      EXPECT_EQ(coded.s, 0x7E00);
      EXPECT_EQ(coded.m, format == KvFormat::kInt4 ? 0x7E00 : 0);
      for (const std::byte code : coded.codes) EXPECT_EQ(code, std::byte{0});
      for (const float value : coded.values) EXPECT_TRUE(std::isnan(value));
    }
  }
}

TEST(KvCodecTest, UnscaledFormatsSaturateAndKeepNan) {
  const struct {
    KvFormat format;
    float max;
  } cases[] = {{KvFormat::kFp16, 65504.0f},
               {KvFormat::kBf16, std::bit_cast<float>(0x7F7F0000)},
               {KvFormat::kFp8E5m2, 57344.0f}};
  for (const auto& c : cases) {
    std::vector<float> x(16, 0.5f);
    x[0] = kInf;
    x[1] = -kInf;
    x[2] = std::numeric_limits<float>::max();
    x[3] = kNan;
    const Coded coded = Code(c.format, x);
    EXPECT_EQ(coded.values[0], c.max);
    EXPECT_EQ(coded.values[1], -c.max);
    EXPECT_EQ(coded.values[2], c.max);
    EXPECT_TRUE(std::isnan(coded.values[3]));
    EXPECT_EQ(coded.values[4], 0.5f);
  }
}

// numbers.md: |error| <= s/2 + ulp16(m)/2 + 7.5 |s - (max - min)/15|, doubled below 2^-14: half a
// step of the grid, the rounding of its origin, and at the far end of the grid (15 steps, half of
// it compensated by rounding to either neighbour) the rounding of the step.
TEST(KvCodecTest, Int4ErrorBound) {
  const uint32_t seed = 20;
  for (const float sigma : {1e-6f, 1e-3f, 1.0f, 300.0f}) {
    for (const float offset : {0.0f, 5.0f, -0.3f}) {
      std::vector<float> all = RandomFloats(64 * 128, seed, sigma);
      for (int group = 0; group < 64; ++group) {
        std::vector<float> x(all.begin() + group * 128, all.begin() + (group + 1) * 128);
        for (float& value : x) value += offset;
        const auto [min, max] = std::minmax_element(x.begin(), x.end());
        const Coded coded = Code(KvFormat::kInt4, x);
        const double s = FloatFromFp16(coded.s);
        const double exact = (static_cast<double>(*max) - *min) / 15;
        double bound = s / 2 + Ulp16(*min) / 2 + 7.5 * std::fabs(s - exact);
        if (exact < 0x1p-14 || std::fabs(*min) < 0x1p-14) bound *= 2;
        // The division and the final sum round in fp32.
        bound += 0x1p-22 * (std::fabs(*min) + std::fabs(*max));
        for (size_t i = 0; i < x.size(); ++i) {
          ASSERT_LE(std::fabs(coded.values[i] - x[i]), bound)
              << "seed " << seed << " sigma " << sigma << " group " << group << " element " << i;
        }
      }
    }
  }
}

// Half a step, plus at most the last code's clamp when the rounded step is too small (127 |s -
// exact|).
TEST(KvCodecTest, SymmetricErrorBound) {
  for (const float sigma : {1e-4f, 1.0f, 1000.0f}) {
    const std::vector<float> x = RandomFloats(128, 21, sigma);
    float amax = 0;
    for (const float value : x) amax = std::max(amax, std::fabs(value));
    const Coded int8 = Code(KvFormat::kInt8, x);
    const double s = FloatFromFp16(int8.s);
    const double bound = s / 2 + 127 * std::fabs(s - amax / 127.0) + 1e-6 * amax;
    for (size_t i = 0; i < x.size(); ++i) ASSERT_LE(std::fabs(int8.values[i] - x[i]), bound);
    const Coded fp8 = Code(KvFormat::kFp8E4m3, x);
    const double s8 = FloatFromFp16(fp8.s);
    for (size_t i = 0; i < x.size(); ++i) {
      // Three mantissa bits: half an ulp is 2^-4 of the value, at least half a subnormal step
      // 2^-10.
      const double step = std::max(std::fabs(x[i]) * 0x1p-4, s8 * 0x1p-10);
      ASSERT_LE(std::fabs(fp8.values[i] - x[i]), step * 1.001 + 448 * std::fabs(s8 - amax / 448.0));
    }
  }
}

TEST(KvCodecTest, ZeroGroupIsAllZero) {
  for (const KvFormats formats : kAllFormatPairs) {
    const Coded coded = Code(formats.k, std::vector<float>(16, 0.0f));
    EXPECT_EQ(coded.s, 0);
    for (const std::byte code : coded.codes) EXPECT_EQ(code, std::byte{0});
    for (const float value : coded.values) EXPECT_EQ(value, 0.0f);
  }
}

}  // namespace
}  // namespace baton::kernels
