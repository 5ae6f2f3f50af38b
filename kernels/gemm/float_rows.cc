#include "kernels/gemm/float_rows.h"

#include <cstring>

#include "kernels/numeric/formats.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/float_rows.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h, which includes this file once per target.
#include "hwy/highway.h"
#include "kernels/kv_page/kv_codec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace baton::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

#if HWY_TARGET == HWY_SCALAR

constexpr int kLanes = 1;

template <ScalarType kFrom, ScalarType kTo>
HWY_INLINE void ConvertVector(const uint8_t* from, uint8_t* to) {
  float value;
  uint16_t bits;
  if constexpr (kFrom == ScalarType::kFp32) {
    std::memcpy(&value, from, sizeof(value));
  } else {
    std::memcpy(&bits, from, sizeof(bits));
    value = kFrom == ScalarType::kFp16 ? FloatFromFp16(bits) : FloatFromBf16(bits);
  }
  if constexpr (kTo == ScalarType::kFp32) {
    std::memcpy(to, &value, sizeof(value));
  } else {
    bits = kTo == ScalarType::kFp16 ? Fp16FromFloat(value) : Bf16FromFloat(value);
    std::memcpy(to, &bits, sizeof(bits));
  }
}

#else

constexpr int kLanes = kKvLanes;

template <ScalarType kFrom>
HWY_INLINE KvVec LoadFloats(const uint8_t* from) {
  const KvTag df;
  if constexpr (kFrom == ScalarType::kFp32) {
    return hn::LoadU(df, reinterpret_cast<const float*>(from));
  } else {
    const KvTagU32 du;
    const KvTagI32 di;
    const hn::Rebind<uint16_t, KvTag> du16;
    const auto bits = hn::LoadU(du16, reinterpret_cast<const uint16_t*>(from));
    const auto wide = hn::PromoteTo(du, bits);
    if constexpr (kFrom == ScalarType::kBf16) {
      return hn::BitCast(df, hn::ShiftLeft<16>(wide));
    } else {
      // A machine's own conversion quiets NaN.
      const auto sign = hn::ShiftLeft<16>(hn::And(wide, hn::Set(du, 0x8000u)));
      const auto mantissa = hn::ShiftLeft<13>(hn::And(wide, hn::Set(du, 0x03FFu)));
      const auto kept = hn::Or(hn::Or(sign, mantissa), hn::Set(du, 0x7F800000u));
      const auto magnitude = hn::BitCast(di, hn::And(wide, hn::Set(du, 0x7FFFu)));
      const auto special = hn::Gt(magnitude, hn::Set(di, kFp16Max));
      return hn::IfThenElse(hn::RebindMask(df, special), hn::BitCast(df, kept), PromoteFp16(bits));
    }
  }
}

template <ScalarType kFrom, ScalarType kTo>
HWY_INLINE void ConvertVector(const uint8_t* from, uint8_t* to) {
  const KvVec values = LoadFloats<kFrom>(from);
  if constexpr (kTo == ScalarType::kFp32) {
    hn::StoreU(values, KvTag(), reinterpret_cast<float*>(to));
  } else if constexpr (kTo == ScalarType::kFp16) {
    StoreAsU16(EncodeSmallFloat<5, 10>(values, kFp16Max, kFp16Nan),
               reinterpret_cast<std::byte*>(to));
  } else {
    StoreAsU16(EncodeSmallFloat<8, 7>(values, kBf16Max, kBf16Nan),
               reinterpret_cast<std::byte*>(to));
  }
}

#endif

template <ScalarType kFrom, ScalarType kTo>
void ConvertRow(const uint8_t* HWY_RESTRICT from, int64_t count, uint8_t* HWY_RESTRICT to) {
  constexpr auto kFromBytes = static_cast<int64_t>(BytesOf(kFrom));
  constexpr auto kToBytes = static_cast<int64_t>(BytesOf(kTo));
  int64_t i = 0;
  for (; i + kLanes <= count; i += kLanes) {
    ConvertVector<kFrom, kTo>(from + i * kFromBytes, to + i * kToBytes);
  }
  if (i == count) return;
  // The rest through the same code.
  uint8_t padded[kLanes * kFromBytes] = {};
  uint8_t converted[kLanes * kToBytes];
  const auto rest = static_cast<size_t>(count - i);
  std::memcpy(padded, from + i * kFromBytes, rest * kFromBytes);
  ConvertVector<kFrom, kTo>(padded, converted);
  std::memcpy(to + i * kToBytes, converted, rest * kToBytes);
}

void Fp32ToFp16(const uint8_t* from, int64_t count, uint8_t* to) {
  ConvertRow<ScalarType::kFp32, ScalarType::kFp16>(from, count, to);
}
void Fp32ToBf16(const uint8_t* from, int64_t count, uint8_t* to) {
  ConvertRow<ScalarType::kFp32, ScalarType::kBf16>(from, count, to);
}
void Fp16ToFp32(const uint8_t* from, int64_t count, uint8_t* to) {
  ConvertRow<ScalarType::kFp16, ScalarType::kFp32>(from, count, to);
}
void Fp16ToBf16(const uint8_t* from, int64_t count, uint8_t* to) {
  ConvertRow<ScalarType::kFp16, ScalarType::kBf16>(from, count, to);
}
void Bf16ToFp32(const uint8_t* from, int64_t count, uint8_t* to) {
  ConvertRow<ScalarType::kBf16, ScalarType::kFp32>(from, count, to);
}
void Bf16ToFp16(const uint8_t* from, int64_t count, uint8_t* to) {
  ConvertRow<ScalarType::kBf16, ScalarType::kFp16>(from, count, to);
}

}  // namespace HWY_NAMESPACE
}  // namespace baton::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace baton::kernels {

HWY_EXPORT(Fp32ToFp16);
HWY_EXPORT(Fp32ToBf16);
HWY_EXPORT(Fp16ToFp32);
HWY_EXPORT(Fp16ToBf16);
HWY_EXPORT(Bf16ToFp32);
HWY_EXPORT(Bf16ToFp16);

void ConvertFloats(const void* from, ScalarType from_type, int64_t count, ScalarType to_type,
                   void* to) {
  const auto* source = static_cast<const uint8_t*>(from);
  auto* target = static_cast<uint8_t*>(to);
  if (from_type == to_type) {
    std::memcpy(target, source, static_cast<size_t>(count) * BytesOf(to_type));
    return;
  }
  switch (from_type) {
    case ScalarType::kFp32:
      return to_type == ScalarType::kFp16 ? HWY_DYNAMIC_DISPATCH(Fp32ToFp16)(source, count, target)
                                          : HWY_DYNAMIC_DISPATCH(Fp32ToBf16)(source, count, target);
    case ScalarType::kFp16:
      return to_type == ScalarType::kFp32 ? HWY_DYNAMIC_DISPATCH(Fp16ToFp32)(source, count, target)
                                          : HWY_DYNAMIC_DISPATCH(Fp16ToBf16)(source, count, target);
    case ScalarType::kBf16:
      return to_type == ScalarType::kFp32 ? HWY_DYNAMIC_DISPATCH(Bf16ToFp32)(source, count, target)
                                          : HWY_DYNAMIC_DISPATCH(Bf16ToFp16)(source, count, target);
  }
}

}  // namespace baton::kernels
#endif
