// The KV formats on the device: one functor a format (numbers.md "KV formats"). A new format is one
// functor here and one line in WithKvCodec.
//
// Groups: a scale group of head_dim values is spread over head_dim / 16 neighbouring lanes, 16
// consecutive values each; Encode and Decode give the bits of kernels/kv_page/kv_codec.h.
//
// Fragments: codes in registers become pairs of 16-bit numbers for mma.sync, exact and before
// scaling: value = s · x + m with x from UnpackDims or UnpackTokens and {s, m} from ReadScale.
#pragma once

#include <cuda_fp16.h>

#include <cstdint>

#include "kernels/cuda/numeric.cuh"
#include "kernels/kv_page/kv_format.h"

namespace baton::kernels::cuda {

inline constexpr int kKvLaneValues = 16;

// Extremes of a group; NaN as soon as one value is.
struct KvExtremes {
  float min;
  float max;

  __device__ __forceinline__ bool finite() const {
    return min >= -3.402823466e38f && max <= 3.402823466e38f;
  }
  __device__ __forceinline__ float amax() const { return fmaxf(-min, max); }
};

__device__ __forceinline__ float KvMin(float a, float b) {
  float r;
  asm("min.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
  return r;
}
__device__ __forceinline__ float KvMax(float a, float b) {
  float r;
  asm("max.NaN.f32 %0, %1, %2;" : "=f"(r) : "f"(a), "f"(b));
  return r;
}

// Over `lanes` neighbouring lanes, a power of two; every lane of the warp takes part. kSymmetric:
// -amax and amax.
template <bool kSymmetric>
__device__ __forceinline__ KvExtremes ReduceExtremes(const float (&x)[kKvLaneValues], int lanes) {
  float min = x[0];
  float max = kSymmetric ? fabsf(x[0]) : x[0];
#pragma unroll
  for (int i = 1; i < kKvLaneValues; ++i) {
    if constexpr (!kSymmetric) min = KvMin(min, x[i]);
    max = KvMax(max, kSymmetric ? fabsf(x[i]) : x[i]);
  }
  for (int offset = lanes / 2; offset > 0; offset /= 2) {
    if constexpr (!kSymmetric) min = KvMin(min, __shfl_xor_sync(0xFFFFFFFFu, min, offset));
    max = KvMax(max, __shfl_xor_sync(0xFFFFFFFFu, max, offset));
  }
  return {kSymmetric ? -max : min, max};
}

// fp16 bits of a scale: saturated; never zero unless the exact one is.
__device__ __forceinline__ uint32_t RoundKvScale(float exact, bool positive) {
  const uint32_t s = Fp16FromFloat(exact);
  return s == 0 && positive ? 1u : s;
}

// Division by a scale, correctly rounded: s has at most 11 significant bits, so no quotient that is
// not a midpoint comes within 2^-36 of one, and one correction of x · RN(1/s) leaves an error far
// below that before its own rounding. Quotients that underflow may err; every format rounds them to
// zero. Undefined for s = 0.
struct KvDivisor {
  float s;
  float reciprocal;

  static __device__ __forceinline__ KvDivisor By(float s) { return {s, __frcp_rn(s)}; }
  __device__ __forceinline__ float Divide(float x) const {
    const float q = __fmul_rn(x, reciprocal);
    return __fmaf_rn(__fmaf_rn(-q, s, x), reciprocal, q);
  }
};
// rint(y) in the low bits, two's complement; |y| < 2^22.
__device__ __forceinline__ uint32_t KvRound(float y) {
  return __float_as_uint(__fadd_rn(y, 12582912.0f /* 1.5 · 2^23 */));
}
template <bool kClamp>
__device__ __forceinline__ uint32_t KvRound(float y, float low, float high) {
  return KvRound(kClamp ? fminf(fmaxf(y, low), high) : y);
}

// {s, m} of value = s · x + m.
struct KvAffine {
  float s;
  float m;
};
__device__ __forceinline__ uint32_t KvBytePermute(uint32_t a, uint32_t b, uint32_t selector) {
  return __byte_perm(a, b, selector);
}
__device__ __forceinline__ uint32_t KvSubtract2(uint32_t a, uint32_t b) {
  const __half2 r = __hsub2(*reinterpret_cast<__half2*>(&a), *reinterpret_cast<__half2*>(&b));
  return *reinterpret_cast<const uint32_t*>(&r);
}
__device__ __forceinline__ uint32_t KvMultiplyAdd2(uint32_t a, uint32_t b, uint32_t c) {
  const __half2 r = __hfma2(*reinterpret_cast<__half2*>(&a), *reinterpret_cast<__half2*>(&b),
                            *reinterpret_cast<__half2*>(&c));
  return *reinterpret_cast<const uint32_t*>(&r);
}

// What the functors have in common. `words`: 32-bit words of kKvLaneValues codes.
template <KvFormat kName, int kCodeBits, bool kBf16Pairs = false>
struct KvCodecTraits {
  static constexpr KvFormat kFormat = kName;
  static constexpr int kBits = kCodeBits;
  static constexpr int kScaleBytes = static_cast<int>(KvScaleBytes(kName));
  static constexpr int kLaneWords = kKvLaneValues * kBits / 32;
  static constexpr bool kSymmetric = kScaleBytes == 2;
  static constexpr bool kBf16 = kBf16Pairs;      // pairs are bf16, else fp16
  static constexpr int kWordPairs = 16 / kBits;  // pairs in one 32-bit word of codes
  // Dimensions (from the word's first) of pair p of UnpackDims.
  static constexpr int PairDim(int p, int half) { return kBits == 4 ? p + 4 * half : 2 * p + half; }
};

struct KvCodecFp16 : KvCodecTraits<KvFormat::kFp16, 16> {
  static __device__ uint32_t Scale(const KvExtremes&) { return 0; }
  static __device__ void Encode(const float (&x)[kKvLaneValues], const KvExtremes&, uint32_t,
                                uint32_t (&words)[kLaneWords]) {
    uint32_t special = 0;  // the top bit of a half: its exponent is that of infinities and NaN
#pragma unroll
    for (int i = 0; i < kLaneWords; ++i) {
      words[i] = Fp16::FromFloat2(x[2 * i], x[2 * i + 1]);
      special |= (words[i] & 0x7C007C00u) + 0x04000400u;
    }
    if ((special & 0x80008000u) == 0) return;
#pragma unroll
    for (int i = 0; i < kLaneWords; ++i) {
      words[i] = Fp16FromFloat(x[2 * i]) | uint32_t{Fp16FromFloat(x[2 * i + 1])} << 16;
    }
  }
  static __device__ void Decode(const uint32_t (&words)[kLaneWords], uint32_t,
                                float (&x)[kKvLaneValues]) {
#pragma unroll
    for (int i = 0; i < kKvLaneValues; ++i) {
      x[i] = FloatFromFp16(static_cast<uint16_t>(words[i / 2] >> (16 * (i % 2))));
    }
  }
  static __device__ __forceinline__ KvAffine ReadScale(const void*) { return {1.0f, 0.0f}; }
  static __device__ __forceinline__ void UnpackDims(uint32_t word, uint32_t (&pairs)[kWordPairs]) {
    pairs[0] = word;
  }
  // pairs[i] = (value i of a, value i of b).
  static __device__ __forceinline__ void UnpackTokens(uint32_t a, uint32_t b,
                                                      uint32_t (&pairs)[2 * kWordPairs]) {
    pairs[0] = KvBytePermute(a, b, 0x5410);
    pairs[1] = KvBytePermute(a, b, 0x7632);
  }
};

struct KvCodecBf16 : KvCodecTraits<KvFormat::kBf16, 16, /*kBf16Pairs=*/true> {
  static __device__ uint32_t Scale(const KvExtremes&) { return 0; }
  static __device__ void Encode(const float (&x)[kKvLaneValues], const KvExtremes&, uint32_t,
                                uint32_t (&words)[kLaneWords]) {
    uint32_t special = 0;  // the top bit of a half: its exponent is that of infinities and NaN
#pragma unroll
    for (int i = 0; i < kLaneWords; ++i) {
      words[i] = Bf16::FromFloat2(x[2 * i], x[2 * i + 1]);
      special |= (words[i] & 0x7F807F80u) + 0x00800080u;
    }
    if ((special & 0x80008000u) == 0) return;
#pragma unroll
    for (int i = 0; i < kLaneWords; ++i) {
      words[i] = Bf16FromFloat(x[2 * i]) | uint32_t{Bf16FromFloat(x[2 * i + 1])} << 16;
    }
  }
  static __device__ void Decode(const uint32_t (&words)[kLaneWords], uint32_t,
                                float (&x)[kKvLaneValues]) {
#pragma unroll
    for (int i = 0; i < kKvLaneValues; ++i) {
      x[i] = __uint_as_float(i % 2 == 0 ? words[i / 2] << 16 : words[i / 2] & 0xFFFF0000u);
    }
  }
  static __device__ __forceinline__ KvAffine ReadScale(const void*) { return {1.0f, 0.0f}; }
  static __device__ __forceinline__ void UnpackDims(uint32_t word, uint32_t (&pairs)[kWordPairs]) {
    pairs[0] = word;
  }
  static __device__ __forceinline__ void UnpackTokens(uint32_t a, uint32_t b,
                                                      uint32_t (&pairs)[2 * kWordPairs]) {
    pairs[0] = KvBytePermute(a, b, 0x5410);
    pairs[1] = KvBytePermute(a, b, 0x7632);
  }
};

// Two fp8 codes to a pair of fp16: exact.
__device__ __forceinline__ uint32_t KvFp16x2FromE4m3x2(uint32_t codes) {
  return Fp16x2FromE4m3x2(static_cast<uint16_t>(codes));
}

// s = fp16(amax / limit) and the zeroing of groups with a NaN or an infinity.
__device__ __forceinline__ uint32_t SymmetricKvScale(const KvExtremes& group, float limit) {
  if (!group.finite()) return 0x7E00u;
  const float amax = group.amax();
  return RoundKvScale(__fdiv_rn(amax, limit), amax > 0.0f);
}

struct KvCodecE4m3 : KvCodecTraits<KvFormat::kFp8E4m3, 8> {
  static __device__ uint32_t Scale(const KvExtremes& group) {
    return SymmetricKvScale(group, 448.0f);
  }
  static __device__ void Encode(const float (&x)[kKvLaneValues], const KvExtremes& group,
                                uint32_t scale, uint32_t (&words)[kLaneWords]) {
    const float s = FloatFromFp16(static_cast<uint16_t>(scale));
    const bool zero = !group.finite() || s == 0.0f;
    const KvDivisor divisor = KvDivisor::By(s);
    const auto quotient = [&](float v) { return copysignf(divisor.Divide(v), v); };
#pragma unroll
    for (int i = 0; i < kLaneWords; ++i) {
      const uint32_t word = E4m3x4FromFloat(quotient(x[4 * i]), quotient(x[4 * i + 1]),
                                            quotient(x[4 * i + 2]), quotient(x[4 * i + 3]));
      words[i] = zero ? 0u : word;
    }
  }
  static __device__ void Decode(const uint32_t (&words)[kLaneWords], uint32_t scale,
                                float (&x)[kKvLaneValues]) {
    const float s = FloatFromFp16(static_cast<uint16_t>(scale));
#pragma unroll
    for (int i = 0; i < kKvLaneValues; i += 2) {
      const uint32_t codes = words[i / 4] >> (8 * (i % 4));
      const float2 pair = Fp16::ToFloat2(KvFp16x2FromE4m3x2(codes & 0xFFFFu));
      x[i] = __fmul_rn(s, pair.x);
      x[i + 1] = __fmul_rn(s, pair.y);
    }
  }
  static __device__ __forceinline__ KvAffine ReadScale(const void* scale) {
    return {__half2float(*static_cast<const __half*>(scale)), 0.0f};
  }
  static __device__ __forceinline__ void UnpackDims(uint32_t word, uint32_t (&pairs)[kWordPairs]) {
    pairs[0] = KvFp16x2FromE4m3x2(word & 0xFFFFu);
    pairs[1] = KvFp16x2FromE4m3x2(word >> 16);
  }
  static __device__ __forceinline__ void UnpackTokens(uint32_t a, uint32_t b,
                                                      uint32_t (&pairs)[2 * kWordPairs]) {
    const uint32_t low = KvBytePermute(a, b, 0x5140);
    const uint32_t high = KvBytePermute(a, b, 0x7362);
    pairs[0] = KvFp16x2FromE4m3x2(low & 0xFFFFu);
    pairs[1] = KvFp16x2FromE4m3x2(low >> 16);
    pairs[2] = KvFp16x2FromE4m3x2(high & 0xFFFFu);
    pairs[3] = KvFp16x2FromE4m3x2(high >> 16);
  }
};

struct KvCodecE5m2 : KvCodecTraits<KvFormat::kFp8E5m2, 8> {
  static __device__ uint32_t Scale(const KvExtremes&) { return 0; }
  static __device__ void Encode(const float (&x)[kKvLaneValues], const KvExtremes&, uint32_t,
                                uint32_t (&words)[kLaneWords]) {
#pragma unroll
    for (int i = 0; i < kLaneWords; ++i) {
      words[i] = 0;
#pragma unroll
      for (int j = 0; j < 4; ++j) words[i] |= uint32_t{E5m2FromFloat(x[4 * i + j])} << (8 * j);
    }
  }
  static __device__ void Decode(const uint32_t (&words)[kLaneWords], uint32_t,
                                float (&x)[kKvLaneValues]) {
#pragma unroll
    for (int i = 0; i < kKvLaneValues; ++i) {  // the upper half of an fp16
      x[i] = FloatFromFp16(static_cast<uint16_t>((words[i / 4] >> (8 * (i % 4)) & 0xFFu) << 8));
    }
  }
  static __device__ __forceinline__ KvAffine ReadScale(const void*) { return {1.0f, 0.0f}; }
  static __device__ __forceinline__ void UnpackDims(uint32_t word, uint32_t (&pairs)[kWordPairs]) {
    pairs[0] = KvBytePermute(word, 0, 0x1404);
    pairs[1] = KvBytePermute(word, 0, 0x3424);
  }
  static __device__ __forceinline__ void UnpackTokens(uint32_t a, uint32_t b,
                                                      uint32_t (&pairs)[2 * kWordPairs]) {
    const uint32_t low = KvBytePermute(a, b, 0x5140);
    const uint32_t high = KvBytePermute(a, b, 0x7362);
    pairs[0] = KvBytePermute(low, 0, 0x1404);
    pairs[1] = KvBytePermute(low, 0, 0x3424);
    pairs[2] = KvBytePermute(high, 0, 0x1404);
    pairs[3] = KvBytePermute(high, 0, 0x3424);
  }
};

struct KvCodecInt8 : KvCodecTraits<KvFormat::kInt8, 8> {
  static __device__ uint32_t Scale(const KvExtremes& group) {
    return SymmetricKvScale(group, 127.0f);
  }
  static __device__ void Encode(const float (&x)[kKvLaneValues], const KvExtremes& group,
                                uint32_t scale, uint32_t (&words)[kLaneWords]) {
    const float s = FloatFromFp16(static_cast<uint16_t>(scale));
    const bool zero = !group.finite() || s == 0.0f;
    const KvDivisor divisor = KvDivisor::By(s);
    // Only a scale far from amax / 127 (saturated, or subnormal) can give larger codes.
    if (divisor.Divide(group.max) < 127.5f) {
      Round<false>(x, divisor, zero, words);
    } else {
      Round<true>(x, divisor, zero, words);
    }
  }
  template <bool kClamp>
  static __device__ __forceinline__ void Round(const float (&x)[kKvLaneValues],
                                               const KvDivisor& divisor, bool zero,
                                               uint32_t (&words)[kLaneWords]) {
#pragma unroll
    for (int i = 0; i < kLaneWords; ++i) {
      uint32_t q[4];
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        q[j] = KvRound<kClamp>(divisor.Divide(x[4 * i + j]), -127.0f, 127.0f);
      }
      const uint32_t low = KvBytePermute(q[0], q[1], 0x0040);
      const uint32_t high = KvBytePermute(q[2], q[3], 0x0040);
      words[i] = zero ? 0u : KvBytePermute(low, high, 0x5410);
    }
  }
  static __device__ void Decode(const uint32_t (&words)[kLaneWords], uint32_t scale,
                                float (&x)[kKvLaneValues]) {
    const float s = FloatFromFp16(static_cast<uint16_t>(scale));
#pragma unroll
    for (int i = 0; i < kKvLaneValues; ++i) {
      x[i] = __fmul_rn(s, static_cast<float>(static_cast<int8_t>(words[i / 4] >> (8 * (i % 4)))));
    }
  }
  static __device__ __forceinline__ KvAffine ReadScale(const void* scale) {
    return {__half2float(*static_cast<const __half*>(scale)), 0.0f};
  }
  // 1024 + (q + 128) is an fp16 with the biased code in its mantissa.
  static __device__ __forceinline__ void Expand(uint32_t biased, uint32_t& low, uint32_t& high) {
    low = KvSubtract2(KvBytePermute(biased, 0x64646464u, 0x4140), 0x64806480u);
    high = KvSubtract2(KvBytePermute(biased, 0x64646464u, 0x4342), 0x64806480u);
  }
  static __device__ __forceinline__ void UnpackDims(uint32_t word, uint32_t (&pairs)[kWordPairs]) {
    Expand(word ^ 0x80808080u, pairs[0], pairs[1]);
  }
  static __device__ __forceinline__ void UnpackTokens(uint32_t a, uint32_t b,
                                                      uint32_t (&pairs)[2 * kWordPairs]) {
    Expand(KvBytePermute(a, b, 0x5140) ^ 0x80808080u, pairs[0], pairs[1]);
    Expand(KvBytePermute(a, b, 0x7362) ^ 0x80808080u, pairs[2], pairs[3]);
  }
};

// Fragments hold q - 8 (smaller numbers round less in the products that follow), so ReadScale
// gives m + 8s.
struct KvCodecInt4 : KvCodecTraits<KvFormat::kInt4, 4> {
  static __device__ uint32_t Scale(const KvExtremes& group) {
    if (!group.finite()) return 0x7E007E00u;
    const uint32_t s =
        RoundKvScale(__fdiv_rn(__fsub_rn(group.max, group.min), 15.0f), group.max > group.min);
    return s | uint32_t{Fp16FromFloat(__fadd_rn(group.min, 0.0f))} << 16;
  }
  static __device__ void Encode(const float (&x)[kKvLaneValues], const KvExtremes& group,
                                uint32_t scale, uint32_t (&words)[kLaneWords]) {
    const float s = FloatFromFp16(static_cast<uint16_t>(scale));
    const float m = FloatFromFp16(static_cast<uint16_t>(scale >> 16));
    const bool zero = !group.finite() || s == 0.0f;
    const KvDivisor divisor = KvDivisor::By(s);
    const float low = divisor.Divide(__fsub_rn(group.min, m));
    const float high = divisor.Divide(__fsub_rn(group.max, m));
    if (low >= -0.5f && high < 15.5f) {
      Round<false>(x, m, divisor, zero, words);
    } else {
      Round<true>(x, m, divisor, zero, words);
    }
  }
  template <bool kClamp>
  static __device__ __forceinline__ void Round(const float (&x)[kKvLaneValues], float m,
                                               const KvDivisor& divisor, bool zero,
                                               uint32_t (&words)[kLaneWords]) {
#pragma unroll
    for (int i = 0; i < kLaneWords; ++i) {
      uint32_t word = 0;
#pragma unroll
      for (int j = 0; j < 8; ++j) {
        const float y = divisor.Divide(__fsub_rn(x[8 * i + j], m));
        word |= (KvRound<kClamp>(y, 0.0f, 15.0f) & 15u) << (4 * j);
      }
      words[i] = zero ? 0u : word;
    }
  }
  static __device__ void Decode(const uint32_t (&words)[kLaneWords], uint32_t scale,
                                float (&x)[kKvLaneValues]) {
    const float s = FloatFromFp16(static_cast<uint16_t>(scale));
    const float m = FloatFromFp16(static_cast<uint16_t>(scale >> 16));
#pragma unroll
    for (int i = 0; i < kKvLaneValues; ++i) {
      const uint32_t code = words[i / 8] >> (4 * (i % 8)) & 15u;
      const float q = __fsub_rn(__uint_as_float(code | 0x4B000000u /* 2^23 */), 8388608.0f);
      x[i] = __fmaf_rn(s, q, m);  // s · q is exact
    }
  }
  static __device__ __forceinline__ KvAffine ReadScale(const void* scale) {
    const float2 sm = __half22float2(*static_cast<const __half2*>(scale));
    return {sm.x, fmaf(8.0f, sm.x, sm.y)};
  }
  // Nibbles i and i + 4 of a word, i = 0 ... 3: 1024 + q, or 1024 + 16 q scaled down.
  static __device__ __forceinline__ void UnpackDims(uint32_t word, uint32_t (&pairs)[kWordPairs]) {
    constexpr uint32_t kLow = 0x000F000Fu, kHigh = 0x00F000F0u, kMagic = 0x64006400u;
    constexpr uint32_t kSixteenth = 0x2C002C00u, kMinus72 = 0xD480D480u, k1032 = 0x64086408u;
    const uint32_t shifted = word >> 8;
    pairs[0] = KvSubtract2((word & kLow) | kMagic, k1032);
    pairs[1] = KvMultiplyAdd2((word & kHigh) | kMagic, kSixteenth, kMinus72);
    pairs[2] = KvSubtract2((shifted & kLow) | kMagic, k1032);
    pairs[3] = KvMultiplyAdd2((shifted & kHigh) | kMagic, kSixteenth, kMinus72);
  }
  static __device__ __forceinline__ void UnpackTokens(uint32_t a, uint32_t b,
                                                      uint32_t (&pairs)[2 * kWordPairs]) {
    uint32_t half[kWordPairs];
    UnpackDims(KvBytePermute(a, b, 0x5410), half);
#pragma unroll
    for (int i = 0; i < kWordPairs; ++i) pairs[i] = half[i];
    UnpackDims(KvBytePermute(a, b, 0x7632), half);
#pragma unroll
    for (int i = 0; i < kWordPairs; ++i) pairs[kWordPairs + i] = half[i];
  }
};

// Calls function(codec) with the functor of a format; the format is uniform over the warp.
template <typename Function>
__device__ __forceinline__ void WithKvCodec(KvFormat format, Function&& function) {
  switch (format) {
    case KvFormat::kFp16:
      return function(KvCodecFp16());
    case KvFormat::kBf16:
      return function(KvCodecBf16());
    case KvFormat::kFp8E4m3:
      return function(KvCodecE4m3());
    case KvFormat::kFp8E5m2:
      return function(KvCodecE5m2());
    case KvFormat::kInt8:
      return function(KvCodecInt8());
    case KvFormat::kInt4:
      return function(KvCodecInt4());
  }
}

}  // namespace baton::kernels::cuda
