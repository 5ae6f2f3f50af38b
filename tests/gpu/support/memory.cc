#include "tests/gpu/support/memory.h"

#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <random>

#include "kernels/numeric/formats.h"

namespace baton::kernels::cuda {
namespace {

uint16_t ToActivation(ActivationType type, float x) {
  const uint16_t sign = static_cast<uint16_t>(std::bit_cast<uint32_t>(x) >> 31 << 15);
  if (type == ActivationType::kFp16) {
    return std::fabs(x) >= 65520.0f ? sign | 0x7C00 : Fp16FromFloat(x);
  }
  return std::isinf(x) || std::fabs(x) >= 3.3961775e38f ? sign | 0x7F80 : Bf16FromFloat(x);
}

}  // namespace

void OrAbort(cudaError_t error, const char* what) {
  if (error == cudaSuccess) return;
  std::fprintf(stderr, "%s: %s\n", what, cudaGetErrorString(error));
  std::abort();
}

DeviceBytes::DeviceBytes(size_t bytes) : bytes_(bytes) {
  OrAbort(cudaMalloc(&data_, bytes == 0 ? 1 : bytes), "cudaMalloc");
  Poison();
}
DeviceBytes::~DeviceBytes() {
  if (data_ != nullptr) cudaFree(data_);
}
void DeviceBytes::Poison() { OrAbort(cudaMemset(data_, 0xFF, bytes_), "cudaMemset"); }
void DeviceBytes::CopyFrom(const void* host) {
  OrAbort(cudaMemcpy(data_, host, bytes_, cudaMemcpyHostToDevice), "upload");
}
void DeviceBytes::CopyTo(void* host) const {
  OrAbort(cudaDeviceSynchronize(), "before a download");
  OrAbort(cudaMemcpy(host, data_, bytes_, cudaMemcpyDeviceToHost), "download");
}

std::vector<uint16_t> ToActivations(ActivationType type, std::span<const float> x) {
  std::vector<uint16_t> codes(x.size());
  for (size_t i = 0; i < x.size(); ++i) codes[i] = ToActivation(type, x[i]);
  return codes;
}

std::vector<float> FromActivations(ActivationType type, std::span<const uint16_t> codes) {
  std::vector<float> x(codes.size());
  for (size_t i = 0; i < x.size(); ++i) {
    x[i] = type == ActivationType::kFp16 ? FloatFromFp16(codes[i]) : FloatFromBf16(codes[i]);
  }
  return x;
}

std::vector<float> Rounded(ActivationType type, std::span<const float> x) {
  return FromActivations(type, ToActivations(type, x));
}

double UnitRoundoff(ActivationType type) {
  return type == ActivationType::kFp16 ? 0x1p-11 : 0x1p-8;
}

std::vector<float> RandomNormal(size_t count, uint32_t seed, float sigma) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, sigma);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

}  // namespace baton::kernels::cuda
