// Rows of FP8 on the device and what tests ask of them.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/numeric/formats.h"
#include "kernels/quantize/cuda.h"
#include "tests/gpu/support/memory.h"

namespace baton::kernels::cuda {

struct DeviceFp8Rows {
  DeviceFp8Rows(int rows, int dim) : codes(static_cast<size_t>(rows) * dim), scale(rows) {}
  Fp8Rows view() const { return {codes.data(), scale.data()}; }

  DeviceArray<uint8_t> codes;
  DeviceArray<float> scale;
};

// That the rows hold fp32 values `x` [rows, dim] which the kernel computed with relative errors up
// to `relative` of its own: the scale within that error, every value within half a step of e4m3 (a
// sixteenth of the value, or 2^-10 of the scale among subnormals) and that error; rows with a
// non-finite value have scale NaN and codes 0.
inline void ExpectFp8Rows(const DeviceFp8Rows& actual, const std::vector<float>& x, int dim,
                          double relative) {
  const std::vector<uint8_t> codes = actual.codes.Download();
  const std::vector<float> scale = actual.scale.Download();
  for (size_t row = 0; row < scale.size(); ++row) {
    float amax = 0.0f;
    bool finite = true;
    for (int i = 0; i < dim; ++i) {
      amax = std::max(amax, std::fabs(x[row * dim + i]));
      finite = finite && std::isfinite(x[row * dim + i]);
    }
    if (finite) {
      ASSERT_NEAR(scale[row], amax / 448.0f, (relative + 1e-7) * amax / 448.0f) << "row " << row;
    } else {
      ASSERT_TRUE(std::isnan(scale[row])) << "row " << row;
    }
    for (int i = 0; i < dim; ++i) {
      const uint8_t code = codes[row * dim + i];
      if (!finite) {
        ASSERT_EQ(code, 0) << "row " << row << " at " << i;
        continue;
      }
      const double expected = x[row * dim + i];
      const double bound =
          std::fabs(expected) * (1.0 / 16 + 2 * relative) + scale[row] * (0x1p-10 + 448 * relative);
      ASSERT_NEAR(static_cast<double>(scale[row]) * FloatFromE4m3(code), expected, bound)
          << "row " << row << " at " << i;
    }
  }
}

}  // namespace baton::kernels::cuda
