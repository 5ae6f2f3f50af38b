#include "kernels/norm/norm.h"

#include <limits>

#include "kernels/norm/cuda.h"
#include "tests/gpu/elementwise/fp8_rows.h"
#include "tests/gpu/support/compare.h"
#include "tests/gpu/support/device.h"

namespace baton::kernels::cuda {
namespace {

struct Case {
  ActivationType type;
  int rows;
  int dim;
  bool residual;
};

struct Inputs {
  std::vector<float> x, residual, weight;  // as the kernel sees them
};

Inputs MakeInputs(const Case& c) {
  const size_t count = static_cast<size_t>(c.rows) * c.dim;
  return {Rounded(c.type, RandomNormal(count, 1)), Rounded(c.type, RandomNormal(count, 2)),
          Rounded(c.type, RandomNormal(c.dim, 3))};
}

// The fp32 result, and the rounded residual stream it is the norm of.
struct Expected {
  std::vector<float> y, residual;
};

Expected Reference(const Case& c, const Inputs& in) {
  Expected expected{std::vector<float>(in.x.size()), in.residual};
  if (c.residual) {
    for (size_t i = 0; i < in.x.size(); ++i) expected.residual[i] += in.x[i];
    expected.residual = Rounded(c.type, expected.residual);
  }
  kernels::RmsNormReference({.x = c.residual ? expected.residual.data() : in.x.data(),
                             .x_stride = c.dim,
                             .weight = in.weight.data(),
                             .eps = 1e-5f,
                             .out = expected.y.data(),
                             .out_stride = c.dim,
                             .rows = c.rows,
                             .groups = 1,
                             .dim = c.dim});
  return expected;
}

struct Device {
  Device(const Case& c, const Inputs& in)
      : x(ToActivations(c.type, in.x)),
        residual(ToActivations(c.type, in.residual)),
        weight(ToActivations(c.type, in.weight)),
        out(in.x.size()),
        fp8(c.rows, c.dim),
        params{.type = c.type,
               .x = x.data(),
               .x_stride = c.dim,
               .residual = c.residual ? residual.data() : nullptr,
               .weight = weight.data(),
               .eps = 1e-5f,
               .out = out.data(),
               .fp8 = fp8.view(),
               .rows = c.rows,
               .dim = c.dim} {}

  DeviceArray<uint16_t> x, residual, weight, out;
  DeviceFp8Rows fp8;
  RmsNormParams params;
};

using NormTest = GpuTest;

// Sum of squares: no cancellation, a tree over dim / 16 partial sums of 16 or 32; with the root,
// the division and two products, under 64 roundings of 2^-24.
constexpr double kRelative = 64 * 0x1p-24;

TEST_F(NormTest, MatchesReference) {
  for (const ActivationType type : {ActivationType::kFp16, ActivationType::kBf16}) {
    for (const int dim : Axis({8, 64, 1000, 2048, 4096, 5120, 8192, 16384, 32768})) {
      for (const Case& c : {Case{type, 1, dim, false}, Case{type, 3, dim, true},
                            Case{type, 67, dim, false}, Case{type, 130, dim, true}}) {
        const Inputs in = MakeInputs(c);
        const Expected expected = Reference(c, in);
        Device device(c, in);
        ASSERT_CUDA(RmsNorm(device.params));
        const std::vector<float> out = FromActivations(type, device.out.Download());
        EXPECT_TRUE(ElementsClose(out, expected.y, 0x1p-24, UnitRoundoff(type) + kRelative))
            << Name(type) << " " << c.rows << "x" << dim;
        ExpectFp8Rows(device.fp8, expected.y, dim, kRelative);
        if (c.residual) {
          EXPECT_EQ(FromActivations(type, device.residual.Download()), expected.residual);
        }
      }
    }
  }
}

TEST_F(NormTest, NonFiniteStaysInItsRow) {
  constexpr int kDim = 4096;
  const Case c{ActivationType::kFp16, 6, kDim, true};
  Inputs in = MakeInputs(c);
  in.x[kDim + 7] = std::numeric_limits<float>::quiet_NaN();
  in.x[3 * kDim + 4095] = std::numeric_limits<float>::infinity();
  for (int i = 0; i < 16; ++i) in.x[4 * kDim + i] = 60000.0f;  // the sum overflows fp16
  for (int i = 0; i < 16; ++i) in.residual[4 * kDim + i] = 60000.0f;
  Device device(c, in);
  ASSERT_CUDA(RmsNorm(device.params));
  const std::vector<float> out = FromActivations(c.type, device.out.Download());
  const std::vector<float> scale = device.fp8.scale.Download();
  for (int row = 0; row < c.rows; ++row) {
    const bool finite = row != 1 && row != 3 && row != 4;
    EXPECT_EQ(std::isfinite(scale[row]), finite) << row;
    bool all_finite = true;
    for (int i = 0; i < kDim; ++i) all_finite = all_finite && std::isfinite(out[row * kDim + i]);
    EXPECT_EQ(all_finite, finite) << row;
  }
}

TEST_F(NormTest, RepeatsBitForBit) {
  const Case c{ActivationType::kBf16, 33, 4096, false};
  const Inputs in = MakeInputs(c);
  Device device(c, in);
  ASSERT_CUDA(RmsNorm(device.params));
  const std::vector<uint16_t> first = device.out.Download();
  const std::vector<uint8_t> first_codes = device.fp8.codes.Download();
  for (int i = 0; i < 5; ++i) {
    device.out.Poison();
    device.fp8.codes.Poison();
    ASSERT_CUDA(RmsNorm(device.params));
    ASSERT_EQ(device.out.Download(), first);
    ASSERT_EQ(device.fp8.codes.Download(), first_codes);
  }
}

// Programmatic dependent launch in a chain: every kernel reads what the one before wrote.
TEST_F(NormTest, DependentLaunchesWaitForEachOther) {
  const Case c{ActivationType::kFp16, 264, 4096, true};
  const Inputs in = MakeInputs(c);
  std::vector<uint16_t> first;
  for (int repeat = 0; repeat < 3; ++repeat) {
    Device device(c, in);
    RmsNormParams back = device.params;  // out → x, so that the next link's input is the last's out
    back.x = device.out.data();
    back.out = device.x.data();
    for (int i = 0; i < 20; ++i) ASSERT_CUDA(RmsNorm(i % 2 == 0 ? device.params : back));
    if (repeat == 0) first = device.residual.Download();
    // One at a time gives the same.
    Device slow(c, in);
    back.x = slow.out.data();
    back.out = slow.x.data();
    back.residual = slow.residual.data();
    back.weight = slow.weight.data();
    back.fp8 = slow.fp8.view();
    for (int i = 0; i < 20; ++i) {
      ASSERT_CUDA(RmsNorm(i % 2 == 0 ? slow.params : back));
      ASSERT_CUDA(cudaDeviceSynchronize());
    }
    EXPECT_EQ(slow.residual.Download(), first);
    EXPECT_EQ(device.residual.Download(), first);
  }
}

}  // namespace
}  // namespace baton::kernels::cuda
