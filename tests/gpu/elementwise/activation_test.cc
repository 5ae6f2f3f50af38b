#include "kernels/activation/activation.h"

#include <cmath>
#include <limits>

#include "kernels/activation/cuda.h"
#include "tests/gpu/elementwise/fp8_rows.h"
#include "tests/gpu/support/compare.h"
#include "tests/gpu/support/device.h"

namespace baton::kernels::cuda {
namespace {

using SwiGluTest = GpuTest;

// swiglu.cu: 2^-21 · (2 + |g| / 4); arguments here stay below 32.
constexpr double kRelative = 10 * 0x1p-21;

struct Case {
  ActivationType type;
  int rows;
  int dim;
};

// gate and up are halves of one matrix, as the fused product leaves them.
void Check(const Case& c, std::vector<float> matrix) {
  matrix = Rounded(c.type, matrix);
  const int width = 2 * c.dim;
  std::vector<float> expected(static_cast<size_t>(c.rows) * c.dim);
  kernels::SwiGluReference({.gate = matrix.data(),
                            .up = matrix.data() + c.dim,
                            .gate_stride = width,
                            .up_stride = width,
                            .out = expected.data(),
                            .out_stride = c.dim,
                            .rows = c.rows,
                            .dim = c.dim});
  const DeviceArray<uint16_t> input(ToActivations(c.type, matrix));
  const DeviceArray<uint16_t> output(expected.size());
  SwiGluParams params{.type = c.type,
                      .gate = input.data(),
                      .up = input.data() + c.dim,
                      .in_stride = width,
                      .out = output.data(),
                      .rows = c.rows,
                      .dim = c.dim};
  ASSERT_CUDA(SwiGlu(params));
  // Against the reference rounded to the type, so that overflow to infinity stands at the same
  // positions; one more rounding may differ.
  EXPECT_TRUE(ElementsClose(FromActivations(c.type, output.Download()), Rounded(c.type, expected),
                            0x1p-24, 2 * UnitRoundoff(c.type) + kRelative))
      << Name(c.type) << " " << c.rows << "x" << c.dim;
  const DeviceFp8Rows fp8(c.rows, c.dim);
  params.out = nullptr;
  params.fp8 = fp8.view();
  ASSERT_CUDA(SwiGlu(params));
  ExpectFp8Rows(fp8, expected, c.dim, kRelative);
}

TEST_F(SwiGluTest, MatchesReference) {
  for (const ActivationType type : {ActivationType::kFp16, ActivationType::kBf16}) {
    for (const int dim : Axis({8, 1000, 4096, 4104, 14336, 28672})) {
      for (const int rows : {1, 5, 66}) {
        Check({type, rows, dim}, RandomNormal(static_cast<size_t>(rows) * 2 * dim, dim, 3.0f));
      }
    }
  }
}

TEST_F(SwiGluTest, MoreRowsThanTheGridHas) {
  Check({ActivationType::kFp16, 70000, 8}, RandomNormal(70000 * 16, 4));
}

TEST_F(SwiGluTest, NonFiniteAndSaturating) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
  constexpr int kDim = 64;
  std::vector<float> matrix = RandomNormal(8 * 2 * kDim, 6);
  matrix[0 * 2 * kDim + 3] = kNan;
  matrix[1 * 2 * kDim + 3] = kInfinity;
  matrix[2 * 2 * kDim + 3] = -kInfinity;        // silu: -inf · 0, NaN
  matrix[3 * 2 * kDim + kDim + 3] = kNan;       // up
  matrix[4 * 2 * kDim + kDim + 3] = kInfinity;  // up
  matrix[5 * 2 * kDim + 3] = 30.0f;             // no rounding of exp(-30)
  matrix[6 * 2 * kDim + 3] = -30.0f;            // nearly 0
  matrix[7 * 2 * kDim + 3] = 31.0f;             // 31 · 60000 overflows fp16
  matrix[7 * 2 * kDim + kDim + 3] = 60000.0f;
  Check({ActivationType::kFp16, 8, kDim}, matrix);
  Check({ActivationType::kBf16, 8, kDim}, matrix);
}

TEST_F(SwiGluTest, FarArgumentsGoToZeroAndIdentity) {
  constexpr int kDim = 8;
  const std::vector<float> matrix = {-1000, -200, -100, -90, 90, 100, 1000, 60000,
                                     1,     1,    1,    1,   1,  1,   1,    1};
  const DeviceArray<uint16_t> input(ToActivations(ActivationType::kFp16, matrix));
  const DeviceArray<uint16_t> output(kDim);
  ASSERT_CUDA(SwiGlu({.gate = input.data(),
                      .up = input.data() + kDim,
                      .in_stride = 2 * kDim,
                      .out = output.data(),
                      .rows = 1,
                      .dim = kDim}));
  EXPECT_TRUE(ElementsClose(FromActivations(ActivationType::kFp16, output.Download()),
                            std::vector<float>{0, 0, 0, 0, 90, 100, 1000, 60000}, 1e-30, 0.0));
}

TEST_F(SwiGluTest, RefusesTwoOutputsAndNone) {
  uint16_t placeholder = 0;
  SwiGluParams params{.in_stride = 64, .rows = 1, .dim = 64};
  EXPECT_EQ(SwiGlu(params), cudaErrorInvalidValue);
  params.out = &placeholder;
  params.fp8.codes = reinterpret_cast<uint8_t*>(&placeholder);
  EXPECT_EQ(SwiGlu(params), cudaErrorInvalidValue);
}

}  // namespace
}  // namespace baton::kernels::cuda
