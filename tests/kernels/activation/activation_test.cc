#include "kernels/activation/activation.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "tests/kernels/kv_page/targets.h"
#include "tests/kernels/kv_page/test_cache.h"

namespace baton::kernels {
namespace {

std::vector<float> RunSwiGlu(const std::vector<float>& gate, const std::vector<float>& up, int rows,
                             int parts) {
  const int dim = static_cast<int>(gate.size()) / rows;
  std::vector<float> out(gate.size());
  const SwiGluParams params{.gate = gate.data(),
                            .up = up.data(),
                            .gate_stride = dim,
                            .up_stride = dim,
                            .out = out.data(),
                            .out_stride = dim,
                            .rows = rows,
                            .dim = dim};
  if (parts == 0) {
    SwiGluReference(params);
  } else {
    RunParts(SwiGluCpu, params, parts);
  }
  return out;
}

TEST(SwiGluTest, MatchesReference) {
  ForEachTarget([] {
    for (const int rows : {1, 3, 8}) {
      for (const int dim : {1, 15, 16, 33, 768}) {
        const auto gate = RandomFloats(rows * dim, 1, 8.0f);
        const auto up = RandomFloats(rows * dim, 2);
        const auto expected = RunSwiGlu(gate, up, rows, 0);
        for (const int parts : {1, 2, 5}) {
          const auto actual = RunSwiGlu(gate, up, rows, parts);
          for (size_t i = 0; i < expected.size(); ++i) {
            // exp within 2 ulp, then sum, quotient and product: five roundings of 2^-24, doubled
            // for safety.
            ASSERT_NEAR(actual[i], expected[i], 10 * 0x1p-24 * std::fabs(expected[i]) + 1e-35)
                << "gate " << gate[i];
          }
        }
      }
    }
  });
}

TEST(SwiGluTest, ExtremesAndNan) {
  const float inf = std::numeric_limits<float>::infinity();
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const std::vector<float> gate = {0, 88, -88, 1e30f, -1e30f, 500, -500, inf, nan};
  const std::vector<float> up(gate.size(), 1.0f);
  ForEachTarget([&] {
    const auto out = RunSwiGlu(gate, up, 1, 1);
    EXPECT_EQ(out[0], 0.0f);
    EXPECT_EQ(out[1], 88.0f);
    EXPECT_NEAR(out[2], 0.0f, 1e-35);
    EXPECT_EQ(out[3], 1e30f);
    EXPECT_EQ(out[4], 0.0f);
    EXPECT_EQ(out[5], 500.0f);
    EXPECT_EQ(out[6], 0.0f);
    EXPECT_EQ(out[7], inf);
    EXPECT_TRUE(std::isnan(out[8]));
  });
}

TEST(SwiGluTest, InPlace) {
  auto gate = RandomFloats(100, 1);
  const auto up = RandomFloats(100, 2);
  const auto expected = RunSwiGlu(gate, up, 1, 1);
  SwiGluCpu({.gate = gate.data(), .up = up.data(), .out = gate.data(), .rows = 1, .dim = 100}, 0,
            1);
  EXPECT_EQ(gate, expected);
}

}  // namespace
}  // namespace baton::kernels
