// Scalar conversions between fp32 and the storage formats fp16, bf16, fp8 e4m3fn and fp8 e5m2.
// Encoding rounds to nearest, ties to even; overflow and infinities become ± the largest finite
// value (as CUDA's cvt.satfinite); NaN stays NaN with its sign. Decoding is exact. These functions
// define the formats: vector code must give the same bits.
#pragma once

#include <bit>
#include <cstdint>

namespace baton::kernels {

inline constexpr uint16_t kFp16Max = 0x7BFF;  // 65504
inline constexpr uint16_t kFp16Nan = 0x7E00;  // the NaN written as a scale
inline constexpr uint16_t kBf16Max = 0x7F7F;  // 3.3895e38
inline constexpr uint16_t kBf16Nan = 0x7FC0;
inline constexpr uint8_t kE4m3Max = 0x7E;  // 448; there are no infinities
inline constexpr uint8_t kE4m3Nan = 0x7F;
inline constexpr uint8_t kE5m2Max = 0x7B;  // 57344
inline constexpr uint8_t kE5m2Nan = 0x7F;

namespace internal {

// The code without its sign bit: exponent of kExpBits with bias 2^(kExpBits-1) - 1, then a mantissa
// of kManBits.
template <int kExpBits, int kManBits>
constexpr uint32_t EncodeMagnitude(uint32_t magnitude, uint32_t max_code, uint32_t nan_code) {
  if (magnitude > 0x7F800000u) return nan_code;
  constexpr int kBias = (1 << (kExpBits - 1)) - 1;
  constexpr int kMinExponent = 1 - kBias;
  constexpr int kDrop = 23 - kManBits;
  const int field = static_cast<int>(magnitude >> 23);
  const int exponent = field == 0 ? -126 : field - 127;
  uint32_t code = 0;
  if (field != 0 && exponent >= kMinExponent) {
    const uint32_t odd = (magnitude >> kDrop) & 1u;
    const uint32_t rounded = magnitude + ((1u << (kDrop - 1)) - 1u) + odd;
    code = (rounded >> kDrop) - (static_cast<uint32_t>(127 - kBias) << kManBits);
  } else {
    const uint32_t significand = (magnitude & 0x7FFFFFu) | (field == 0 ? 0u : 0x800000u);
    const int shift = kDrop + (kMinExponent - exponent);
    if (shift > 24) return 0;  // below half of the smallest subnormal
    const uint32_t odd = (significand >> shift) & 1u;
    code = (significand + ((1u << (shift - 1)) - 1u) + odd) >> shift;
  }
  return code > max_code ? max_code : code;
}

// `magnitude` is a code that is neither an infinity nor NaN, without its sign bit.
template <int kExpBits, int kManBits>
constexpr uint32_t DecodeMagnitude(uint32_t magnitude) {
  constexpr int kBias = (1 << (kExpBits - 1)) - 1;
  const uint32_t field = magnitude >> kManBits;
  const uint32_t mantissa = magnitude & ((1u << kManBits) - 1u);
  if (field != 0) {
    return ((field + static_cast<uint32_t>(127 - kBias)) << 23) | (mantissa << (23 - kManBits));
  }
  // 2^(1 - bias - mantissa bits), a normal fp32 number in every format but bf16 (not decoded here).
  constexpr uint32_t kUnit = static_cast<uint32_t>(127 + 1 - kBias - kManBits) << 23;
  return std::bit_cast<uint32_t>(static_cast<float>(mantissa) * std::bit_cast<float>(kUnit));
}

constexpr uint32_t MagnitudeBits(float x) { return std::bit_cast<uint32_t>(x) & 0x7FFFFFFFu; }
constexpr uint32_t SignBit(float x) { return std::bit_cast<uint32_t>(x) >> 31; }

}  // namespace internal

constexpr uint16_t Fp16FromFloat(float x) {
  const uint32_t code =
      internal::EncodeMagnitude<5, 10>(internal::MagnitudeBits(x), kFp16Max, kFp16Nan);
  return static_cast<uint16_t>(code | (internal::SignBit(x) << 15));
}

constexpr float FloatFromFp16(uint16_t code) {
  const uint32_t sign = (code & 0x8000u) << 16;
  const uint32_t magnitude = code & 0x7FFFu;
  const uint32_t bits = magnitude >= 0x7C00u ? 0x7F800000u | ((magnitude & 0x3FFu) << 13)
                                             : internal::DecodeMagnitude<5, 10>(magnitude);
  return std::bit_cast<float>(sign | bits);
}

constexpr uint16_t Bf16FromFloat(float x) {
  const uint32_t code =
      internal::EncodeMagnitude<8, 7>(internal::MagnitudeBits(x), kBf16Max, kBf16Nan);
  return static_cast<uint16_t>(code | (internal::SignBit(x) << 15));
}

constexpr float FloatFromBf16(uint16_t code) {
  return std::bit_cast<float>(static_cast<uint32_t>(code) << 16);
}

constexpr uint8_t E4m3FromFloat(float x) {
  const uint32_t code =
      internal::EncodeMagnitude<4, 3>(internal::MagnitudeBits(x), kE4m3Max, kE4m3Nan);
  return static_cast<uint8_t>(code | (internal::SignBit(x) << 7));
}

constexpr float FloatFromE4m3(uint8_t code) {
  const uint32_t sign = (code & 0x80u) << 24;
  const uint32_t magnitude = code & 0x7Fu;
  const uint32_t bits =
      magnitude == kE4m3Nan ? 0x7FC00000u : internal::DecodeMagnitude<4, 3>(magnitude);
  return std::bit_cast<float>(sign | bits);
}

constexpr uint8_t E5m2FromFloat(float x) {
  const uint32_t code =
      internal::EncodeMagnitude<5, 2>(internal::MagnitudeBits(x), kE5m2Max, kE5m2Nan);
  return static_cast<uint8_t>(code | (internal::SignBit(x) << 7));
}

constexpr float FloatFromE5m2(uint8_t code) {
  return FloatFromFp16(static_cast<uint16_t>(code << 8));  // e5m2 is the upper half of fp16
}

}  // namespace baton::kernels
