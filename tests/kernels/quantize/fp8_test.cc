#include "kernels/quantize/fp8.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/numeric/formats.h"

namespace baton::kernels {
namespace {

struct Rows {
  std::vector<uint8_t> codes;
  std::vector<float> scale;
};

Rows Quantize(const std::vector<float>& x, int64_t m, int64_t k, int64_t ldx) {
  Rows rows{std::vector<uint8_t>(m * k, 0xAA), std::vector<float>(m, -1.0f)};
  QuantizeRowsFp8Reference({.x = x.data(),
                            .m = m,
                            .k = k,
                            .ldx = ldx,
                            .codes = rows.codes.data(),
                            .scale = rows.scale.data()});
  return rows;
}

TEST(QuantizeFp8Test, ByHand) {
  // amax 896: scale 2. 448, -224, and 3 / 2 = 1.5, 1.0625 / 2 = 0.53125, a tie between 0.5 and
  // 0.5625: to even, 0.5.
  const Rows rows = Quantize({896, -448, 3, 1.0625f, 77777}, 1, 4, 5);
  EXPECT_EQ(rows.scale[0], 2.0f);
  EXPECT_EQ(FloatFromE4m3(rows.codes[0]), 448.0f);
  EXPECT_EQ(FloatFromE4m3(rows.codes[1]), -224.0f);
  EXPECT_EQ(FloatFromE4m3(rows.codes[2]), 1.5f);
  EXPECT_EQ(FloatFromE4m3(rows.codes[3]), 0.5f);
}

TEST(QuantizeFp8Test, RowsAreIndependent) {
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const Rows rows = Quantize({0, -0.0f, 1, kNan, -448, 1, kInfinity, 2}, 4, 2, 2);
  EXPECT_EQ(rows.scale[0], 0.0f);
  EXPECT_TRUE(std::isnan(rows.scale[1]));
  EXPECT_EQ(rows.scale[2], 1.0f);
  EXPECT_TRUE(std::isnan(rows.scale[3]));
  EXPECT_EQ(rows.codes, (std::vector<uint8_t>{0, 0, 0, 0, 0xFE, 0x38, 0, 0}));
}

}  // namespace
}  // namespace baton::kernels
