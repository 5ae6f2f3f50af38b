// Vector form of kv_codec.h, for inclusion by a cpu.cc under hwy/foreach_target.h. Gives the same
// bits as the scalar form on every target: all roundings are written out in integer arithmetic,
// none is left to a target's conversion.

#if defined(BATON_KERNELS_KV_PAGE_KV_CODEC_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BATON_KERNELS_KV_PAGE_KV_CODEC_INL_H_
#undef BATON_KERNELS_KV_PAGE_KV_CODEC_INL_H_
#else
#define BATON_KERNELS_KV_PAGE_KV_CODEC_INL_H_
#endif

#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>

#include "hwy/highway.h"
#include "kernels/kv_page/kv_codec.h"
#include "kernels/kv_page/kv_format.h"
#include "kernels/numeric/formats.h"

#if HWY_TARGET != HWY_SCALAR  // there the kernels run their scalar reference
HWY_BEFORE_NAMESPACE();
namespace baton::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// At most 16 lanes: every head_dim and every block of 16 tokens is a whole number of vectors.
using KvTag = hn::CappedTag<float, 16>;
using KvVec = hn::Vec<KvTag>;
using KvTagI32 = hn::RebindToSigned<KvTag>;
using KvTagU32 = hn::RebindToUnsigned<KvTag>;
inline constexpr int kKvLanes = static_cast<int>(hn::MaxLanes(KvTag()));

// Scale data of one group as numbers; 1 and 0 where the format has none.
struct KvScale {
  float s = 1.0f;
  float m = 0.0f;
};

template <KvFormat F>
HWY_INLINE KvScale LoadKvScale(const std::byte* scale) {
  KvScale result;
  uint16_t bits[2];
  std::memcpy(bits, scale, KvScaleBytes(F));
  if constexpr (KvScaleBytes(F) >= 2) result.s = FloatFromFp16(bits[0]);
  if constexpr (KvScaleBytes(F) >= 4) result.m = FloatFromFp16(bits[1]);
  return result;
}

// fp16 bits, one per 16-bit lane -> fp32.
template <class V16>
HWY_INLINE KvVec PromoteFp16(V16 bits) {
  const KvTag df;
#if HWY_TARGET == HWY_AVX2 || HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
  return hn::PromoteTo(df, hn::BitCast(hn::Rebind<hwy::float16_t, KvTag>(), bits));
#else
  // Exponents scaled by a multiplication, which also normalizes subnormals; infinities and NaN by
  // hand.
  const KvTagU32 du;
  const auto wide = hn::PromoteTo(du, bits);
  const auto sign = hn::ShiftLeft<16>(hn::And(wide, hn::Set(du, 0x8000u)));
  const auto magnitude = hn::ShiftLeft<13>(hn::And(wide, hn::Set(du, 0x7FFFu)));
  const auto scaled = hn::BitCast(
      du, hn::Mul(hn::BitCast(df, magnitude), hn::Set(df, 5.192296858534828e33f /* 2^112 */)));
  const auto special = hn::Gt(hn::BitCast(KvTagI32(), magnitude), hn::Set(KvTagI32(), 0x0F7FFFFF));
  const auto exponent = hn::VecFromMask(du, hn::RebindMask(du, special));
  return hn::BitCast(df, hn::Or(sign, hn::Or(scaled, hn::And(exponent, hn::Set(du, 0x7F800000u)))));
#endif
}

// The codes of dimensions d ... d + lanes - 1 as numbers (before scaling). `d` is a multiple of the
// lane count.
template <KvFormat F>
HWY_INLINE KvVec LoadKvCodes(const std::byte* codes, int d) {
  const KvTag df;
  const hn::Rebind<uint16_t, KvTag> du16;
  const hn::Rebind<uint8_t, KvTag> du8;
  const uint8_t* bytes = reinterpret_cast<const uint8_t*>(codes);
  if constexpr (F == KvFormat::kFp16) {
    return PromoteFp16(hn::LoadU(du16, reinterpret_cast<const uint16_t*>(bytes + 2 * d)));
  } else if constexpr (F == KvFormat::kBf16) {
    const auto bits = hn::LoadU(du16, reinterpret_cast<const uint16_t*>(bytes + 2 * d));
    return hn::BitCast(df, hn::ShiftLeft<16>(hn::PromoteTo(KvTagU32(), bits)));
  } else if constexpr (F == KvFormat::kFp8E4m3) {
    const auto code = hn::PromoteTo(du16, hn::LoadU(du8, bytes + d));
    const auto magnitude = hn::And(code, hn::Set(du16, 0x7F));
    const auto nan = hn::Eq(magnitude, hn::Set(du16, kE4m3Nan));
    const auto half = hn::IfThenElse(nan, hn::Set(du16, kFp16Nan), hn::ShiftLeft<7>(magnitude));
    const auto sign = hn::ShiftLeft<8>(hn::And(code, hn::Set(du16, 0x80)));
    return hn::Mul(PromoteFp16(hn::Or(half, sign)), hn::Set(df, 256.0f));
  } else if constexpr (F == KvFormat::kFp8E5m2) {
    return PromoteFp16(hn::ShiftLeft<8>(hn::PromoteTo(du16, hn::LoadU(du8, bytes + d))));
  } else if constexpr (F == KvFormat::kInt8) {
    const hn::Rebind<int8_t, KvTag> di8;
    const auto code = hn::LoadU(di8, reinterpret_cast<const int8_t*>(bytes + d));
    return hn::ConvertTo(df, hn::PromoteTo(KvTagI32(), code));
  } else {
    // One byte holds dimensions 2i (low) and 2i + 1 (high): spread to two bytes, then widen.
    const hn::Repartition<uint16_t, decltype(du8)> dpair;
    const hn::Rebind<uint8_t, decltype(dpair)> dbyte;
    const auto pair = hn::PromoteTo(dpair, hn::LoadU(dbyte, bytes + d / 2));
    const auto low = hn::And(pair, hn::Set(dpair, 0x000F));
    const auto high = hn::ShiftLeft<4>(hn::And(pair, hn::Set(dpair, 0x00F0)));
    const auto nibbles = hn::BitCast(du8, hn::Or(low, high));
    return hn::ConvertTo(df, hn::PromoteTo(KvTagI32(), nibbles));
  }
}

// Applies a scale: `s` and `m` belong to the group of each lane.
template <KvFormat F>
HWY_INLINE KvVec ScaleKv(KvVec codes, KvVec s, KvVec m) {
  if constexpr (KvScaleBytes(F) == 4) return hn::MulAdd(codes, s, m);
  if constexpr (KvScaleBytes(F) == 2) return hn::Mul(codes, s);
  return codes;
}

template <KvFormat F>
HWY_INLINE void DecodeGroup(const std::byte* codes, const std::byte* scale, int head_dim,
                            float* HWY_RESTRICT x) {
  const KvTag df;
  const KvScale group = LoadKvScale<F>(scale);
  const KvVec s = hn::Set(df, group.s);
  const KvVec m = hn::Set(df, group.m);
  for (int d = 0; d < head_dim; d += kKvLanes) {
    hn::StoreU(ScaleKv<F>(LoadKvCodes<F>(codes, d), s, m), df, x + d);
  }
}

// fp32 -> the code of a small float format, one per 32-bit lane (see internal::EncodeMagnitude).
template <int kExpBits, int kManBits>
HWY_INLINE hn::Vec<KvTagU32> EncodeSmallFloat(KvVec x, uint32_t max_code, uint32_t nan_code) {
  const KvTag df;
  const KvTagU32 du;
  const KvTagI32 di;
  constexpr int kBias = (1 << (kExpBits - 1)) - 1;
  constexpr int kDrop = 23 - kManBits;
  const auto bits = hn::BitCast(du, x);
  const auto magnitude = hn::And(bits, hn::Set(du, 0x7FFFFFFFu));
  const auto odd = hn::And(hn::ShiftRight<kDrop>(magnitude), hn::Set(du, 1u));
  const auto rounded = hn::Add(hn::Add(magnitude, hn::Set(du, (1u << (kDrop - 1)) - 1u)), odd);
  auto code = hn::Sub(hn::ShiftRight<kDrop>(rounded),
                      hn::Set(du, static_cast<uint32_t>(127 - kBias) << kManBits));
  if constexpr (kExpBits < 8) {
    // Below the smallest normal number, adding 2^23 units lets the adder round to whole units.
    constexpr uint32_t kMagic = static_cast<uint32_t>(127 + 23 + 1 - kBias - kManBits) << 23;
    constexpr int32_t kMinNormal = (127 + 1 - kBias) << 23;
    const auto magic = hn::BitCast(df, hn::Set(du, kMagic));
    const auto units =
        hn::Sub(hn::BitCast(du, hn::Add(hn::BitCast(df, magnitude), magic)), hn::Set(du, kMagic));
    const auto subnormal = hn::Lt(hn::BitCast(di, magnitude), hn::Set(di, kMinNormal));
    code = hn::IfThenElse(hn::RebindMask(du, subnormal), units, code);
  }
  code = hn::Min(code, hn::Set(du, max_code));
  const auto nan = hn::Gt(hn::BitCast(di, magnitude), hn::Set(di, 0x7F800000));
  code = hn::IfThenElse(hn::RebindMask(du, nan), hn::Set(du, nan_code), code);
  return hn::Or(code, hn::ShiftLeft<kExpBits + kManBits>(hn::ShiftRight<31>(bits)));
}

HWY_INLINE void StoreAsU16(hn::Vec<KvTagU32> v, std::byte* to) {
  const hn::Rebind<uint16_t, KvTag> du16;
  hn::StoreU(hn::DemoteTo(du16, hn::BitCast(KvTagI32(), v)), du16, reinterpret_cast<uint16_t*>(to));
}

HWY_INLINE void StoreAsU8(hn::Vec<KvTagU32> v, std::byte* to) {
  const hn::Rebind<uint8_t, KvTag> du8;
  hn::StoreU(hn::DemoteTo(du8, hn::BitCast(KvTagI32(), v)), du8, reinterpret_cast<uint8_t*>(to));
}

// Formats without a scale: each value by itself.
template <KvFormat F>
HWY_INLINE void EncodePlain(const float* x, int head_dim, std::byte* codes) {
  const KvTag df;
  for (int d = 0; d < head_dim; d += kKvLanes) {
    const KvVec v = hn::LoadU(df, x + d);
    if constexpr (F == KvFormat::kFp16) {
      StoreAsU16(EncodeSmallFloat<5, 10>(v, kFp16Max, kFp16Nan), codes + 2 * d);
    } else if constexpr (F == KvFormat::kBf16) {
      StoreAsU16(EncodeSmallFloat<8, 7>(v, kBf16Max, kBf16Nan), codes + 2 * d);
    } else {
      StoreAsU8(EncodeSmallFloat<5, 2>(v, kE5m2Max, kE5m2Nan), codes + d);
    }
  }
}

template <KvFormat F>
HWY_INLINE void EncodeSymmetric(const float* x, int head_dim, float amax, std::byte* codes,
                                std::byte* scale) {
  const KvTag df;
  const uint16_t s16 = KvSymmetricScale(amax, F == KvFormat::kInt8 ? 127.0f : 448.0f);
  std::memcpy(scale, &s16, sizeof(s16));
  if (s16 == 0) {
    std::memset(codes, 0, KvCodeBytes(F, head_dim));
    return;
  }
  const KvVec s = hn::Set(df, FloatFromFp16(s16));
  for (int d = 0; d < head_dim; d += kKvLanes) {
    const KvVec y = hn::Div(hn::LoadU(df, x + d), s);
    if constexpr (F == KvFormat::kInt8) {
      const KvVec q = hn::Max(hn::Min(y, hn::Set(df, 127.0f)), hn::Set(df, -127.0f));
      const hn::Rebind<int8_t, KvTag> di8;
      hn::StoreU(hn::DemoteTo(di8, hn::NearestInt(q)), di8, reinterpret_cast<int8_t*>(codes + d));
    } else {
      StoreAsU8(EncodeSmallFloat<4, 3>(y, kE4m3Max, kE4m3Nan), codes + d);
    }
  }
}

HWY_INLINE void EncodeInt4(const float* x, int head_dim, float min, float max, std::byte* codes,
                           std::byte* scale) {
  const KvTag df;
  const KvInt4Scale scales = KvAffineScale(min, max);
  std::memcpy(scale, &scales.s, 2);
  std::memcpy(scale + 2, &scales.m, 2);
  if (scales.s == 0) {
    std::memset(codes, 0, KvCodeBytes(KvFormat::kInt4, head_dim));
    return;
  }
  const KvVec s = hn::Set(df, FloatFromFp16(scales.s));
  const KvVec m = hn::Set(df, FloatFromFp16(scales.m));
  const hn::Rebind<uint8_t, KvTag> du8;
  const hn::Repartition<uint16_t, decltype(du8)> dpair;
  const hn::Repartition<int16_t, decltype(du8)> dpair_signed;
  const hn::Rebind<uint8_t, decltype(dpair)> dbyte;
  for (int d = 0; d < head_dim; d += kKvLanes) {
    const KvVec y = hn::Div(hn::Sub(hn::LoadU(df, x + d), m), s);
    const KvVec q = hn::Max(hn::Min(y, hn::Set(df, 15.0f)), hn::Zero(df));
    const auto pair = hn::BitCast(dpair, hn::DemoteTo(du8, hn::NearestInt(q)));
    const auto packed = hn::And(hn::Or(pair, hn::ShiftRight<4>(pair)), hn::Set(dpair, 0x00FF));
    hn::StoreU(hn::DemoteTo(dbyte, hn::BitCast(dpair_signed, packed)), dbyte,
               reinterpret_cast<uint8_t*>(codes + d / 2));
  }
}

template <KvFormat F>
HWY_INLINE void EncodeGroup(const float* x, int head_dim, std::byte* codes, std::byte* scale) {
  if constexpr (KvScaleBytes(F) == 0) {
    EncodePlain<F>(x, head_dim, codes);
    return;
  }
  const KvTag df;
  const KvTagI32 di;
  auto largest = hn::Zero(di);  // magnitudes order like their bits
  KvVec min = hn::LoadU(df, x);
  KvVec max = min;
  for (int d = 0; d < head_dim; d += kKvLanes) {
    const KvVec v = hn::LoadU(df, x + d);
    largest = hn::Max(largest, hn::BitCast(di, hn::Abs(v)));
    min = hn::Min(min, v);
    max = hn::Max(max, v);
  }
  const int32_t bits = hn::GetLane(hn::MaxOfLanes(di, largest));
  if (bits >= 0x7F800000) {
    std::memset(codes, 0, KvCodeBytes(F, head_dim));
    for (size_t i = 0; i < KvScaleBytes(F); i += 2) std::memcpy(scale + i, &kFp16Nan, 2);
    return;
  }
  if constexpr (F == KvFormat::kInt4) {
    EncodeInt4(x, head_dim, hn::GetLane(hn::MinOfLanes(df, min)),
               hn::GetLane(hn::MaxOfLanes(df, max)), codes, scale);
  } else {
    EncodeSymmetric<F>(x, head_dim, std::bit_cast<float>(bits), codes, scale);
  }
}

// Calls f.template operator()<F>() for the run-time format.
template <class Function>
HWY_INLINE void WithKvFormat(KvFormat format, Function&& f) {
  switch (format) {
    case KvFormat::kFp16:
      return f.template operator()<KvFormat::kFp16>();
    case KvFormat::kBf16:
      return f.template operator()<KvFormat::kBf16>();
    case KvFormat::kFp8E4m3:
      return f.template operator()<KvFormat::kFp8E4m3>();
    case KvFormat::kFp8E5m2:
      return f.template operator()<KvFormat::kFp8E5m2>();
    case KvFormat::kInt8:
      return f.template operator()<KvFormat::kInt8>();
    case KvFormat::kInt4:
      return f.template operator()<KvFormat::kInt4>();
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace baton::kernels
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET

#endif  // toggle guard
