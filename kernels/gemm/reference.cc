#include <algorithm>
#include <cmath>

#include "kernels/gemm/element.h"
#include "kernels/gemm/gemm.h"

namespace baton::kernels {
namespace {

float Dense(const GemmParams& p, int64_t m, int64_t n) {
  float sum = 0.0f;
  for (int64_t k = 0; k < p.w->k(); ++k) {
    sum = std::fma(p.a[m * p.lda + k], internal::DenseAt(*p.w, n, k), sum);
  }
  return sum;
}

// Both group schemes: a sum within the group, then one scaled addition.
float W4A16(const GemmParams& p, int64_t m, int64_t n) {
  const int64_t group = p.w->group();
  float total = 0.0f;
  for (int64_t j = 0; j < p.w->groups(); ++j) {
    float sum = 0.0f;
    for (int64_t k = j * group; k < std::min(p.w->k(), (j + 1) * group); ++k) {
      sum = std::fma(p.a[m * p.lda + k], static_cast<float>(internal::CodeAt(*p.w, n, k)), sum);
    }
    total = std::fma(sum, internal::ScaleAt(*p.w, n, j), total);
  }
  return total;
}

float IntegerGroups(const GemmParams& p, int64_t m, int64_t n) {
  const int64_t group = p.w->group();
  float total = 0.0f;
  for (int64_t j = 0; j < p.w->groups(); ++j) {
    int32_t sum = 0;
    for (int64_t k = j * group; k < std::min(p.w->k(), (j + 1) * group); ++k) {
      sum += p.quantized.codes[m * p.quantized.stride + k] * internal::CodeAt(*p.w, n, k);
    }
    total = std::fma(static_cast<float>(sum), internal::ScaleAt(*p.w, n, j), total);
  }
  return total;
}

float Fp8(const GemmParams& p, int64_t m, int64_t n) {
  float sum = 0.0f;
  for (int64_t k = 0; k < p.w->k(); ++k) {
    const auto code = static_cast<uint8_t>(p.quantized.codes[m * p.quantized.stride + k]);
    sum = std::fma(FloatFromE4m3(code), internal::Fp8At(*p.w, n, k), sum);
  }
  return sum * internal::ScaleAt(*p.w, n, 0);
}

float Element(const GemmParams& p, int64_t m, int64_t n) {
  const float bias = p.bias != nullptr ? p.bias[n] : 0.0f;
  switch (p.w->scheme()) {
    case WeightScheme::kFp32:
    case WeightScheme::kFp16:
    case WeightScheme::kBf16:
      return Dense(p, m, n) + bias;
    case WeightScheme::kW4A16:
      return W4A16(p, m, n) + bias;
    case WeightScheme::kW8A8:
    case WeightScheme::kW4A8:
      return std::fma(IntegerGroups(p, m, n), p.quantized.scale[m], bias);
    case WeightScheme::kW8A8Fp8:
      return std::fma(Fp8(p, m, n), p.quantized.scale[m], bias);
  }
  return bias;
}

}  // namespace

void GemmReference(const GemmParams& params) {
  for (int64_t m = 0; m < params.m; ++m) {
    for (int64_t n = 0; n < params.w->n(); ++n) {
      params.out[m * params.ldo + n] = Element(params, m, n);
    }
  }
}

}  // namespace baton::kernels
