#include "kernels/kv_page/kv_codec.h"

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>

#include "kernels/numeric/formats.h"

namespace baton::kernels {
namespace {

constexpr uint16_t kSmallestFp16 = 0x0001;  // 2^-24

uint16_t RoundScale(float exact, bool positive) {
  const uint16_t s = Fp16FromFloat(exact);
  return s == 0 && positive ? kSmallestFp16 : s;
}

void StoreU16(std::byte* to, uint16_t value) { std::memcpy(to, &value, sizeof(value)); }

uint16_t LoadU16(const std::byte* from) {
  uint16_t value;
  std::memcpy(&value, from, sizeof(value));
  return value;
}

bool AllFinite(const float* x, int n) {
  return std::all_of(x, x + n, [](float value) { return std::isfinite(value); });
}

float AbsMax(const float* x, int n) {
  float amax = 0.0f;
  for (int i = 0; i < n; ++i) amax = std::max(amax, std::fabs(x[i]));
  return amax;
}

void EncodeSymmetric(KvFormat format, const float* x, int n, std::byte* codes, std::byte* scale) {
  const bool int8 = format == KvFormat::kInt8;
  const uint16_t s16 = KvSymmetricScale(AbsMax(x, n), int8 ? 127.0f : 448.0f);
  StoreU16(scale, s16);
  const float s = FloatFromFp16(s16);
  if (s == 0.0f) {
    std::memset(codes, 0, KvCodeBytes(format, n));
    return;
  }
  for (int i = 0; i < n; ++i) {
    const float y = x[i] / s;
    codes[i] = int8 ? static_cast<std::byte>(
                          static_cast<int8_t>(std::clamp(std::nearbyint(y), -127.0f, 127.0f)))
                    : static_cast<std::byte>(E4m3FromFloat(y));
  }
}

void EncodeInt4(const float* x, int n, std::byte* codes, std::byte* scale) {
  const auto [min, max] = std::minmax_element(x, x + n);
  const KvInt4Scale scales = KvAffineScale(*min, *max);
  StoreU16(scale, scales.s);
  StoreU16(scale + 2, scales.m);
  std::memset(codes, 0, KvCodeBytes(KvFormat::kInt4, n));
  const float s = FloatFromFp16(scales.s);
  const float m = FloatFromFp16(scales.m);
  if (s == 0.0f) return;
  for (int i = 0; i < n; ++i) {
    const float q = std::clamp(std::nearbyint((x[i] - m) / s), 0.0f, 15.0f);
    codes[i / 2] |= static_cast<std::byte>(static_cast<unsigned>(q) << (i % 2 * 4));
  }
}

}  // namespace

uint16_t KvSymmetricScale(float amax, float limit) { return RoundScale(amax / limit, amax > 0); }

KvInt4Scale KvAffineScale(float min, float max) {
  // The sum turns a minimum of -0 into +0: which of the two a search returns depends on its order.
  return {RoundScale((max - min) / 15.0f, max > min), Fp16FromFloat(min + 0.0f)};
}

void EncodeKvGroup(KvFormat format, const float* x, int head_dim, std::byte* codes,
                   std::byte* scale) {
  if (KvScaleBytes(format) != 0 && !AllFinite(x, head_dim)) {
    std::memset(codes, 0, KvCodeBytes(format, head_dim));
    for (size_t i = 0; i < KvScaleBytes(format); i += 2) StoreU16(scale + i, kFp16Nan);
    return;
  }
  switch (format) {
    case KvFormat::kFp16:
      for (int i = 0; i < head_dim; ++i) StoreU16(codes + 2 * i, Fp16FromFloat(x[i]));
      return;
    case KvFormat::kBf16:
      for (int i = 0; i < head_dim; ++i) StoreU16(codes + 2 * i, Bf16FromFloat(x[i]));
      return;
    case KvFormat::kFp8E5m2:
      for (int i = 0; i < head_dim; ++i) codes[i] = static_cast<std::byte>(E5m2FromFloat(x[i]));
      return;
    case KvFormat::kFp8E4m3:
    case KvFormat::kInt8:
      return EncodeSymmetric(format, x, head_dim, codes, scale);
    case KvFormat::kInt4:
      return EncodeInt4(x, head_dim, codes, scale);
  }
}

void DecodeKvGroup(KvFormat format, const std::byte* codes, const std::byte* scale, int head_dim,
                   float* x) {
  const float s = KvScaleBytes(format) >= 2 ? FloatFromFp16(LoadU16(scale)) : 1.0f;
  const float m = KvScaleBytes(format) >= 4 ? FloatFromFp16(LoadU16(scale + 2)) : 0.0f;
  for (int i = 0; i < head_dim; ++i) {
    switch (format) {
      case KvFormat::kFp16:
        x[i] = FloatFromFp16(LoadU16(codes + 2 * i));
        break;
      case KvFormat::kBf16:
        x[i] = FloatFromBf16(LoadU16(codes + 2 * i));
        break;
      case KvFormat::kFp8E4m3:
        x[i] = s * FloatFromE4m3(static_cast<uint8_t>(codes[i]));
        break;
      case KvFormat::kFp8E5m2:
        x[i] = FloatFromE5m2(static_cast<uint8_t>(codes[i]));
        break;
      case KvFormat::kInt8:
        x[i] = s * static_cast<float>(static_cast<int8_t>(codes[i]));
        break;
      case KvFormat::kInt4: {
        const unsigned q = (static_cast<unsigned>(codes[i / 2]) >> (i % 2 * 4)) & 15u;
        x[i] = m + s * static_cast<float>(q);  // s * q is exact, so this rounds once
        break;
      }
    }
  }
}

}  // namespace baton::kernels
