#include "kernels/quantize/quantize.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

#include "hwy/highway.h"
#include "kernels/numeric/formats.h"

namespace baton::kernels {
namespace {

struct Quantized {
  std::vector<int8_t> codes;
  std::vector<float> scale;
  std::vector<int32_t> sums;
  bool operator==(const Quantized& o) const {
    for (size_t i = 0; i < scale.size(); ++i) {
      if (scale[i] != o.scale[i] && !(std::isnan(scale[i]) && std::isnan(o.scale[i]))) return false;
    }
    return codes == o.codes && sums == o.sums;
  }
};

template <typename Function>
Quantized Run(const std::vector<float>& x, int64_t m, int64_t k, int64_t stride,
              ActivationCode code, Function f) {
  Quantized q{std::vector<int8_t>(m * stride, 99), std::vector<float>(m, 99.0f),
              std::vector<int32_t>(m * stride / kActivationBlock, 99)};
  f({.x = x.data(),
     .m = m,
     .k = k,
     .ldx = k,
     .code = code,
     .out = {q.codes.data(), q.scale.data(), q.sums.data(), stride}});
  return q;
}

Quantized Reference(const std::vector<float>& x, int64_t m, int64_t k, int64_t stride,
                    ActivationCode code = ActivationCode::kInt8) {
  return Run(x, m, k, stride, code, [](const QuantizeParams& p) { QuantizeRowsReference(p); });
}

Quantized Cpu(const std::vector<float>& x, int64_t m, int64_t k, int64_t stride, int parts,
              ActivationCode code = ActivationCode::kInt8) {
  return Run(x, m, k, stride, code, [parts](const QuantizeParams& p) {
    for (int part = parts - 1; part >= 0; --part) QuantizeRowsCpu(p, part, parts);
  });
}

std::vector<float> RandomRows(int64_t count, uint32_t seed) {
  std::mt19937 rng(seed);
  std::normal_distribution<float> normal(0.0f, 3.0f);
  std::vector<float> x(count);
  for (float& v : x) v = normal(rng);
  return x;
}

class Quantize : public testing::TestWithParam<int64_t> {
 protected:
  void SetUp() override { hwy::SetSupportedTargetsForTest(GetParam()); }
  void TearDown() override { hwy::SetSupportedTargetsForTest(0); }
};

TEST_P(Quantize, EqualsTheReferenceBitByBit) {
  for (int64_t k : {1, 16, 31, 32, 33, 48, 100, 512, 1000}) {
    for (int64_t m : {1, 3, 17}) {
      const int64_t stride = PaddedActivations(k) + kActivationBlock;
      const uint32_t seed = static_cast<uint32_t>(1000 * k + m);
      std::vector<float> x = RandomRows(m * k, seed);
      for (ActivationCode code : {ActivationCode::kInt8, ActivationCode::kE4m3}) {
        const Quantized expected = Reference(x, m, k, stride, code);
        for (int parts : {1, 2, 5}) {
          EXPECT_TRUE(Cpu(x, m, k, stride, parts, code) == expected)
              << "m " << m << " k " << k << " parts " << parts << " seed " << seed;
        }
      }
    }
  }
}

TEST_P(Quantize, NonFiniteRowsGetScaleNanAndCodesZero) {
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (float bad : {kInf, -kInf, std::nanf(""), -std::nanf("")}) {
    for (int64_t at : {0, 20, 39}) {
      std::vector<float> x = RandomRows(3 * 40, 7);
      x[40 + at] = bad;
      const Quantized q = Cpu(x, 3, 40, 64, 1);
      EXPECT_FALSE(std::isnan(q.scale[0]));
      EXPECT_TRUE(std::isnan(q.scale[1]));
      EXPECT_FALSE(std::isnan(q.scale[2]));
      for (int64_t i = 0; i < 64; ++i) EXPECT_EQ(q.codes[64 + i], 0);
      EXPECT_EQ(q.sums[2], 0);
      EXPECT_EQ(q.sums[3], 0);
      EXPECT_TRUE(q == Reference(x, 3, 40, 64));
    }
  }
}

TEST_P(Quantize, ExtremesAndTies) {
  // amax = 127 makes the scale 1, so the codes are the rounded values: ties go to even.
  std::vector<float> x = {127.0f, -127.0f, 0.5f, 1.5f, 2.5f, -0.5f, -1.5f, 126.5f};
  const Quantized q = Cpu(x, 1, 8, 32, 1);
  EXPECT_EQ(q.scale[0], 1.0f);
  EXPECT_EQ(std::vector<int8_t>(q.codes.begin(), q.codes.begin() + 8),
            (std::vector<int8_t>{127, -127, 0, 2, 2, 0, -2, 126}));
  EXPECT_EQ(q.sums[0], 128);
  for (float value : {0.0f, std::numeric_limits<float>::max(), 1e-38f, 1e-40f, 1e-45f}) {
    std::vector<float> row(32, value);
    row[5] = -value;
    EXPECT_TRUE(Cpu(row, 1, 32, 32, 1) == Reference(row, 1, 32, 32)) << value;
  }
}

TEST_P(Quantize, Fp8Extremes) {
  constexpr auto kE4m3 = ActivationCode::kE4m3;
  // amax = 448 makes the scale 1: the codes are those of the values themselves.
  std::vector<float> x = {448.0f, -448.0f, 1.0f, 17.0f, 0x1p-9f, 0x1p-10f, 0x1.8p-9f, -0.0f};
  const Quantized q = Cpu(x, 1, 8, 32, 1, kE4m3);
  EXPECT_EQ(q.scale[0], 1.0f);
  for (int i = 0; i < 8; ++i) EXPECT_EQ(static_cast<uint8_t>(q.codes[i]), E4m3FromFloat(x[i])) << i;
  EXPECT_EQ(q.sums[0], 99);  // not written
  for (float value : {0.0f, std::numeric_limits<float>::max(), 1e-38f, 1e-40f, 1e-45f,
                      std::numeric_limits<float>::infinity(), std::nanf("")}) {
    std::vector<float> row(40, value);
    row[5] = -value;
    EXPECT_TRUE(Cpu(row, 1, 40, 64, 1, kE4m3) == Reference(row, 1, 40, 64, kE4m3)) << value;
  }
}

TEST(QuantizeReference, Fp8FollowsTheDefinition) {
  const std::vector<float> x = RandomRows(64, 3);
  const Quantized q = Reference(x, 1, 64, 64, ActivationCode::kE4m3);
  float amax = 0.0f;
  for (float v : x) amax = std::max(amax, std::fabs(v));
  EXPECT_EQ(q.scale[0], amax / 448.0f);
  for (int i = 0; i < 64; ++i) {
    // Half a unit of the third mantissa bit, or of the smallest number.
    const float value = FloatFromE4m3(static_cast<uint8_t>(q.codes[i])) * q.scale[0];
    EXPECT_NEAR(value, x[i], std::max(std::fabs(x[i]) / 16, q.scale[0] * 0x1p-10f) * 1.0001f);
  }
}

TEST(QuantizeReference, FollowsTheDefinition) {
  const std::vector<float> x = RandomRows(64, 3);
  const Quantized q = Reference(x, 1, 64, 64);
  float amax = 0.0f;
  for (float v : x) amax = std::max(amax, std::fabs(v));
  EXPECT_EQ(q.scale[0], amax / 127.0f);
  int32_t sum = 0;
  for (int i = 0; i < 64; ++i) {
    // Rounding to the nearest code is off by at most half a step, and the division by half an ulp.
    EXPECT_NEAR(q.codes[i] * q.scale[0], x[i], 0.5001f * q.scale[0]);
    sum += q.codes[i];
  }
  EXPECT_EQ(q.sums[1], sum);
}

INSTANTIATE_TEST_SUITE_P(Targets, Quantize, testing::ValuesIn(hwy::SupportedAndGeneratedTargets()),
                         [](const auto& info) { return hwy::TargetName(info.param); });

}  // namespace
}  // namespace baton::kernels
