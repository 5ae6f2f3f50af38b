// The conversions of numeric.cuh against numeric/formats.h, bit for bit, over every fp32 exponent.
#include <vector>

#include "kernels/cuda/checksum.cuh"
#include "kernels/cuda/numeric.cuh"
#include "kernels/cuda/reduce.cuh"
#include "kernels/numeric/formats.h"
#include "tests/gpu/support/device.h"

namespace baton::kernels::cuda {
namespace {

struct Codes {
  uint16_t fp16;
  uint16_t bf16;
  uint8_t e4m3;
  uint8_t e5m2;
};

__global__ void Encode(const uint32_t* bits, Codes* out, int count) {
  const int i = blockIdx.x * blockDim.x + threadIdx.x;
  if (i >= count) return;
  const float x = __uint_as_float(bits[i]);
  out[i] = {Fp16FromFloat(x), Bf16FromFloat(x), E4m3FromFloat(x), E5m2FromFloat(x)};
}

// Every sign and exponent, with mantissas at and beside the ties of each format.
std::vector<uint32_t> InterestingFloats() {
  std::vector<uint32_t> bits;
  for (uint32_t head = 0; head < 512; ++head) {
    for (uint32_t top = 0; top < 32; ++top) {
      for (const uint32_t tail : {0x0u, 0x1u, 0xFFFu, 0x1000u, 0x1001u, 0x2000u, 0x7FFFu, 0x8000u,
                                  0x8001u, 0x1FFFFu, 0x20000u, 0x20001u, 0x3FFFFu}) {
        bits.push_back(head << 23 | ((top << 18) ^ tail));
      }
    }
  }
  return bits;
}

using NumericTest = GpuTest;

TEST_F(NumericTest, EncodesAsTheCpuDoes) {
  const std::vector<uint32_t> bits = InterestingFloats();
  const DeviceArray<uint32_t> input(bits);
  const DeviceArray<Codes> output(bits.size());
  Encode<<<(bits.size() + 255) / 256, 256>>>(input.data(), output.data(),
                                             static_cast<int>(bits.size()));
  ASSERT_CUDA(cudaGetLastError());
  const std::vector<Codes> codes = output.Download();
  for (size_t i = 0; i < bits.size(); ++i) {
    const float x = std::bit_cast<float>(bits[i]);
    ASSERT_EQ(codes[i].fp16, kernels::Fp16FromFloat(x)) << x;
    ASSERT_EQ(codes[i].bf16, kernels::Bf16FromFloat(x)) << x;
    ASSERT_EQ(codes[i].e5m2, kernels::E5m2FromFloat(x)) << x;
    if (x == x) ASSERT_EQ(codes[i].e4m3, kernels::E4m3FromFloat(x)) << x;
  }
}

__global__ void DecodeAll(float* e4m3, float* pairs) {
  const int code = threadIdx.x;
  e4m3[code] = FloatFromE4m3(static_cast<uint8_t>(code));
  const uint32_t pair = Fp16x2FromE4m3x2(static_cast<uint16_t>(code | (255 - code) << 8));
  const float2 values = Fp16::ToFloat2(pair);
  pairs[2 * code] = values.x;
  pairs[2 * code + 1] = values.y;
}

TEST_F(NumericTest, DecodesE4m3) {
  const DeviceArray<float> single(256);
  const DeviceArray<float> pairs(512);
  DecodeAll<<<1, 256>>>(single.data(), pairs.data());
  ASSERT_CUDA(cudaGetLastError());
  const std::vector<float> one = single.Download();
  const std::vector<float> two = pairs.Download();
  for (int code = 0; code < 256; ++code) {
    const float expected = kernels::FloatFromE4m3(static_cast<uint8_t>(code));
    const float other = kernels::FloatFromE4m3(static_cast<uint8_t>(255 - code));
    if (expected == expected) {
      EXPECT_EQ(one[code], expected) << code;
      EXPECT_EQ(two[2 * code], expected) << code;
    } else {
      EXPECT_NE(one[code], one[code]) << code;
    }
    if (other == other) EXPECT_EQ(two[2 * code + 1], other) << code;
  }
}

__global__ void Reduce(const float* x, float* out) {
  __shared__ float sums[4];
  __shared__ float maxima[4];
  const float value = x[threadIdx.x];
  const float sum = BlockReduce<Sum, 128>(value, sums);
  const float maximum = BlockReduce<MaxNan, 128>(fabsf(value), maxima);
  out[threadIdx.x] = sum;
  out[128 + threadIdx.x] = maximum;
}

TEST_F(NumericTest, BlockReductionsReachEveryThread) {
  std::vector<float> x(128);
  for (int i = 0; i < 128; ++i) x[i] = static_cast<float>(i - 100);  // sums are exact
  for (const bool with_nan : {false, true}) {
    if (with_nan) x[77] = std::bit_cast<float>(0x7FC00000u);
    const DeviceArray<float> input(x);
    const DeviceArray<float> output(256);
    Reduce<<<1, 128>>>(input.data(), output.data());
    ASSERT_CUDA(cudaGetLastError());
    for (const float value : output.Download()) {
      if (with_nan) {
        EXPECT_NE(value, value);
      } else {
        EXPECT_TRUE(value == 127 * 64 - 128 * 100 || value == 100) << value;
      }
    }
  }
}

}  // namespace
}  // namespace baton::kernels::cuda
