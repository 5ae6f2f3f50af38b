#include <cmath>
#include <limits>

#include "kernels/quantize/cuda.h"
#include "kernels/quantize/fp8.h"
#include "tests/gpu/elementwise/fp8_rows.h"
#include "tests/gpu/support/device.h"

namespace baton::kernels::cuda {
namespace {

using QuantizeTest = GpuTest;

void ExpectSameBits(ActivationType type, int rows, int dim, const std::vector<float>& values) {
  const int stride = dim + 8;
  std::vector<float> x(static_cast<size_t>(rows) * stride, 1e4f);  // the gap must not be read
  for (int row = 0; row < rows; ++row) {
    std::copy_n(values.begin() + static_cast<size_t>(row) * dim, dim,
                x.begin() + static_cast<size_t>(row) * stride);
  }
  const std::vector<float> rounded = Rounded(type, x);
  std::vector<uint8_t> codes(static_cast<size_t>(rows) * dim);
  std::vector<float> scale(rows);
  QuantizeRowsFp8Reference({.x = rounded.data(),
                            .m = rows,
                            .k = dim,
                            .ldx = stride,
                            .codes = codes.data(),
                            .scale = scale.data()});
  const DeviceArray<uint16_t> input(ToActivations(type, x));
  const DeviceFp8Rows output(rows, dim);
  ASSERT_CUDA(QuantizeFp8Rows({.type = type,
                               .x = input.data(),
                               .x_stride = stride,
                               .out = output.view(),
                               .rows = rows,
                               .dim = dim}));
  ASSERT_EQ(output.codes.Download(), codes) << rows << "x" << dim;
  const std::vector<float> actual = output.scale.Download();
  for (int row = 0; row < rows; ++row) {
    if (std::isnan(scale[row])) {
      EXPECT_TRUE(std::isnan(actual[row]));
    } else {
      EXPECT_EQ(actual[row], scale[row]) << "row " << row;
    }
  }
}

TEST_F(QuantizeTest, SameBitsAsTheReference) {
  for (const ActivationType type : {ActivationType::kFp16, ActivationType::kBf16}) {
    for (const int dim : Axis({8, 64, 1000, 2048, 2056, 4096, 14336, 16392, 32768})) {
      for (const int rows : {1, 3, 70}) {
        ExpectSameBits(type, rows, dim, RandomNormal(static_cast<size_t>(rows) * dim, rows + dim));
      }
    }
  }
}

TEST_F(QuantizeTest, ExtremeRows) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr int kDim = 512;
  for (const ActivationType type : {ActivationType::kFp16, ActivationType::kBf16}) {
    std::vector<float> x = RandomNormal(8 * kDim, 5);
    for (int i = 0; i < kDim; ++i) {
      x[i] = i % 2 == 0 ? 0.0f : -0.0f;  // scale 0
      x[kDim + i] *= 1e-7f;              // subnormal in fp16
      x[6 * kDim + i] *= 1e-38f;         // subnormal scale in bf16, zero in fp16
      x[7 * kDim + i] = i == 9 ? 65504.0f : -0.0f;
    }
    x[2 * kDim + 100] = kNan;
    x[3 * kDim + 511] = -kInfinity;
    x[5 * kDim] = kNan;
    x[5 * kDim + 1] = kInfinity;
    ExpectSameBits(type, 8, kDim, x);
  }
}

TEST_F(QuantizeTest, RefusesShapes) {
  QuantizeFp8RowsParams params{.x_stride = 64, .rows = 1, .dim = 60};
  EXPECT_EQ(QuantizeFp8Rows(params), cudaErrorInvalidValue);
}

}  // namespace
}  // namespace baton::kernels::cuda
