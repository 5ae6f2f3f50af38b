// FP8 weights × FP8 activations for few tokens against a product in double.
#include <cmath>
#include <limits>

#include "kernels/gemm/config.h"
#include "kernels/gemm/cuda.h"
#include "kernels/numeric/formats.h"
#include "tests/gpu/gemm/product.h"
#include "tests/gpu/support/compare.h"
#include "tests/gpu/support/device.h"

namespace baton::kernels::cuda {
namespace {

struct Shape {
  int m, n, k;
};

std::vector<uint8_t> Codes(size_t count, uint32_t seed) {
  const std::vector<float> x = RandomNormal(count, seed, 32.0f);
  std::vector<uint8_t> codes(count);
  for (size_t i = 0; i < count; ++i) codes[i] = E4m3FromFloat(i % 1009 == 7 ? 448.0f : x[i]);
  return codes;
}

std::vector<float> Decode(const std::vector<uint8_t>& codes, const std::vector<float>& scale,
                          int k) {
  std::vector<float> x(codes.size());
  for (size_t i = 0; i < x.size(); ++i) x[i] = FloatFromE4m3(codes[i]) * scale[i / k];
  return x;
}

struct Case {
  Case(ActivationType t, Shape s, bool with_bias)
      : type(t),
        shape(s),
        a(Codes(static_cast<size_t>(s.m) * s.k, 1)),
        w(Codes(static_cast<size_t>(s.n) * s.k, 2)),
        bias(with_bias ? Rounded(t, RandomNormal(s.n, 3)) : std::vector<float>()) {
    for (int i = 0; i < s.m; ++i) a_scale.push_back(0.01f * static_cast<float>(1 + i % 7));
    for (int i = 0; i < s.n; ++i) w_scale.push_back(0.002f * static_cast<float>(1 + i % 5));
    OrAbort(cudaDeviceGetAttribute(&sm_count, cudaDevAttrMultiProcessorCount, 0), "device");
    Upload();
  }
  void Upload() {
    device_a = DeviceArray<uint8_t>(a);
    device_w = DeviceArray<uint8_t>(w);
    device_a_scale = DeviceArray<float>(a_scale);
    device_w_scale = DeviceArray<float>(w_scale);
    device_bias = DeviceArray<uint16_t>(ToActivations(type, bias));
    out = DeviceArray<uint16_t>(static_cast<size_t>(shape.m) * shape.n);
  }
  GemmFp8Params params(Fp8Mode mode) const {
    return {.m = shape.m,
            .n = shape.n,
            .k = shape.k,
            .mode = mode,
            .a = device_a.data(),
            .a_scale = device_a_scale.data(),
            .w = device_w.data(),
            .w_scale = device_w_scale.data(),
            .bias = bias.empty() ? nullptr : device_bias.data(),
            .type = type,
            .out = out.data(),
            .ldo = shape.n};
  }
  std::vector<float> Reference() const {
    return Rounded(type, ProductRows(Decode(a, a_scale, shape.k), Decode(w, w_scale, shape.k), bias,
                                     SampleRows(shape.m, shape.m), shape.n, shape.k));
  }
  // The tensor core keeps about 14 bits of the running sum and adds 32 terms at a time: k / 32
  // truncations of 2^-14 in fast accumulation, four between promotions in exact mode.
  double Bound(Fp8Mode mode) const {
    const double adds = mode == Fp8Mode::kExact ? 4.0 : std::max(4.0, shape.k / 32.0);
    return 2 * UnitRoundoff(type) + adds * 0x1p-14 +
           Cancellation(shape.k) * std::sqrt(static_cast<double>(shape.k)) * 0x1p-23;
  }
  void ExpectRight(Fp8Mode mode, const std::vector<float>& expected) const {
    EXPECT_TRUE(NormClose(FromActivations(type, out.Download()), expected, Bound(mode)))
        << Name(type) << " " << shape.m << "x" << shape.n << "x" << shape.k
        << (mode == Fp8Mode::kExact ? " exact" : " fast");
  }

  ActivationType type;
  Shape shape;
  std::vector<uint8_t> a, w;
  std::vector<float> bias, a_scale, w_scale;
  int sm_count = 0;
  DeviceArray<uint8_t> device_a, device_w;
  DeviceArray<float> device_a_scale, device_w_scale;
  DeviceArray<uint16_t> device_bias, out;
};

using Fp8SmallTest = GpuTest;

TEST_F(Fp8SmallTest, EveryShapeMatchesReference) {
  const Shape shapes[] = {{1, 64, 64},    {1, 4096, 256},  {3, 192, 128},  {8, 320, 4096},
                          {9, 64, 576},   {16, 448, 1024}, {17, 1024, 64}, {33, 128, 2048},
                          {64, 576, 512}, {65, 64, 4096},  {128, 320, 192}};
  for (const ActivationType type : {ActivationType::kFp16, ActivationType::kBf16}) {
    for (const Shape& shape : shapes) {
      if (ReducedGrid() && shape.m * shape.n > 1 << 14) continue;
      Case c(type, shape, shape.m % 2 == 1);
      const std::vector<float> expected = c.Reference();
      for (const Fp8Mode mode : {Fp8Mode::kFastAccum, Fp8Mode::kExact}) {
        c.out.Poison();
        ASSERT_CUDA(GemmFp8Small(c.params(mode), c.sm_count));
        c.ExpectRight(mode, expected);
      }
    }
  }
}

TEST_F(Fp8SmallTest, EveryChoiceIsRightAndRepeats) {
  int count = 0;
  for (const Shape& shape : {Shape{5, 320, 1216}, Shape{77, 192, 1024}}) {
    Case c(ActivationType::kBf16, shape, true);
    const std::vector<float> expected = c.Reference();
    for (int variant = 0; variant < static_cast<int>(std::size(kFp8Variants)); ++variant) {
      for (const int split : Axis({1, 2, 3, 4, 8})) {
        for (const int shared_kib : {75, 112, 226}) {
          const GemmChoice choice = {GemmKernel::kFp8Small, variant, split, shared_kib};
          GemmPlan plan;
          const GemmSize size = {.m = shape.m, .n = shape.n, .k = shape.k};
          if (PlanGemm(choice, c.sm_count, size, &plan) != nullptr) continue;
          SCOPED_TRACE(testing::Message()
                       << "variant " << variant << " split " << split << " KiB " << shared_kib);
          for (const Fp8Mode mode : {Fp8Mode::kFastAccum, Fp8Mode::kExact}) {
            c.out.Poison();
            ASSERT_CUDA(GemmFp8SmallWith(c.params(mode), c.sm_count, choice));
            c.ExpectRight(mode, expected);
            const std::vector<uint16_t> first = c.out.Download();
            c.out.Poison();
            ASSERT_CUDA(GemmFp8SmallWith(c.params(mode), c.sm_count, choice));
            ASSERT_EQ(c.out.Download(), first);
            ++count;
          }
        }
      }
    }
  }
  EXPECT_GT(count, ReducedGrid() ? 40 : 100);
}

TEST_F(Fp8SmallTest, RowOfNanScaleIsNan) {
  for (const int m : {5, 70}) {
    Case c(ActivationType::kFp16, {m, 128, 256}, false);
    c.a_scale[2] = std::numeric_limits<float>::quiet_NaN();
    c.Upload();
    for (const Fp8Mode mode : {Fp8Mode::kFastAccum, Fp8Mode::kExact}) {
      ASSERT_CUDA(GemmFp8Small(c.params(mode), c.sm_count));
      c.ExpectRight(mode, c.Reference());
    }
  }
}

}  // namespace
}  // namespace baton::kernels::cuda
