#include "kernels/numeric/formats.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <random>
#include <vector>

namespace baton::kernels {
namespace {

constexpr float kInf = std::numeric_limits<float>::infinity();

// One format as a table: codes of the non-negative finite numbers ascend with their values, so the
// nearest code can be searched, which is a second, independent definition of the rounding.
struct Format {
  const char* name;
  int max_code;
  uint32_t sign_bit;
  uint32_t (*encode)(float);
  float (*decode)(uint32_t);
};

const Format kFormats[] = {
    {"fp16", kFp16Max, 0x8000, [](float x) -> uint32_t { return Fp16FromFloat(x); },
     [](uint32_t c) { return FloatFromFp16(static_cast<uint16_t>(c)); }},
    {"bf16", kBf16Max, 0x8000, [](float x) -> uint32_t { return Bf16FromFloat(x); },
     [](uint32_t c) { return FloatFromBf16(static_cast<uint16_t>(c)); }},
    {"e4m3", kE4m3Max, 0x80, [](float x) -> uint32_t { return E4m3FromFloat(x); },
     [](uint32_t c) { return FloatFromE4m3(static_cast<uint8_t>(c)); }},
    {"e5m2", kE5m2Max, 0x80, [](float x) -> uint32_t { return E5m2FromFloat(x); },
     [](uint32_t c) { return FloatFromE5m2(static_cast<uint8_t>(c)); }},
};

uint32_t NearestCode(const Format& f, double x) {
  uint32_t low = 0;
  uint32_t high = static_cast<uint32_t>(f.max_code);
  if (x >= f.decode(high)) return high;
  while (high - low > 1) {
    const uint32_t middle = (low + high) / 2;
    (f.decode(middle) <= x ? low : high) = middle;
  }
  const double below = x - f.decode(low);
  const double above = f.decode(high) - x;
  if (below != above) return below < above ? low : high;
  return low % 2 == 0 ? low : high;
}

TEST(Formats, EveryFiniteCodeRoundTrips) {
  for (const Format& f : kFormats) {
    for (uint32_t code = 0; code <= static_cast<uint32_t>(f.max_code); ++code) {
      ASSERT_EQ(f.encode(f.decode(code)), code) << f.name;
      ASSERT_EQ(f.encode(-f.decode(code)), code | f.sign_bit) << f.name;
      ASSERT_EQ(f.decode(code | f.sign_bit), -f.decode(code)) << f.name;
    }
  }
}

TEST(Formats, MidpointsRoundToEvenAndNeighboursToTheNearest) {
  for (const Format& f : kFormats) {
    for (uint32_t code = 0; code < static_cast<uint32_t>(f.max_code); ++code) {
      const double middle = (static_cast<double>(f.decode(code)) + f.decode(code + 1)) / 2;
      const float x = static_cast<float>(middle);
      for (float y : {x, std::nextafter(x, 0.0f), std::nextafter(x, kInf)}) {
        ASSERT_EQ(f.encode(y), NearestCode(f, y)) << f.name << " " << y;
      }
    }
  }
}

TEST(Formats, RandomBitPatternsRoundToTheNearestCode) {
  constexpr uint32_t kSeed = 20240611;
  std::mt19937 rng(kSeed);
  for (int i = 0; i < 200000; ++i) {
    const float x = std::bit_cast<float>(static_cast<uint32_t>(rng()) & 0x7FFFFFFFu);
    if (!std::isfinite(x)) continue;
    for (const Format& f : kFormats) {
      ASSERT_EQ(f.encode(x), NearestCode(f, x)) << f.name << " " << x << " seed " << kSeed;
    }
  }
}

TEST(Formats, OverflowAndInfinitySaturate) {
  for (const Format& f : kFormats) {
    for (float x : {kInf, std::numeric_limits<float>::max()}) {
      EXPECT_EQ(f.encode(x), static_cast<uint32_t>(f.max_code)) << f.name;
      EXPECT_EQ(f.encode(-x), static_cast<uint32_t>(f.max_code) | f.sign_bit) << f.name;
    }
  }
}

TEST(Formats, NanStaysNan) {
  for (const Format& f : kFormats) {
    EXPECT_TRUE(std::isnan(f.decode(f.encode(std::nanf(""))))) << f.name;
    EXPECT_TRUE(std::isnan(f.decode(f.encode(-std::nanf(""))))) << f.name;
    EXPECT_TRUE(std::isnan(f.decode(f.encode(std::bit_cast<float>(0x7F800001u))))) << f.name;
  }
}

TEST(Formats, KnownValues) {
  EXPECT_EQ(Fp16FromFloat(1.0f), 0x3C00);
  EXPECT_EQ(Fp16FromFloat(65504.0f), kFp16Max);
  EXPECT_EQ(FloatFromFp16(0x0001), std::ldexp(1.0f, -24));
  EXPECT_EQ(FloatFromFp16(0x7C00), kInf);
  EXPECT_EQ(FloatFromFp16(0xFC00), -kInf);
  EXPECT_TRUE(std::isnan(FloatFromFp16(kFp16Nan)));
  EXPECT_EQ(Bf16FromFloat(1.0f), 0x3F80);
  EXPECT_EQ(E4m3FromFloat(448.0f), kE4m3Max);
  EXPECT_EQ(E4m3FromFloat(1.0f), 0x38);
  EXPECT_EQ(FloatFromE4m3(0x01), std::ldexp(1.0f, -9));
  EXPECT_EQ(E5m2FromFloat(57344.0f), kE5m2Max);
  EXPECT_EQ(FloatFromE5m2(0x01), std::ldexp(1.0f, -16));
  EXPECT_EQ(FloatFromE5m2(0x7C), kInf);
}

}  // namespace
}  // namespace baton::kernels
