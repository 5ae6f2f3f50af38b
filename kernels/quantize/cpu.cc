#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstring>
#include <limits>

#include "kernels/numeric/formats.h"
#include "kernels/numeric/partition.h"
#include "kernels/quantize/quantize.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/quantize/cpu.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h, which includes this file once per target.
#include "hwy/highway.h"
#include "kernels/kv_page/kv_codec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace baton::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = HWY_CAPPED(float, 16);
using DI = hn::RebindToSigned<DF>;
static_assert(kActivationBlock % hn::MaxLanes(DF()) == 0);

// The largest |x| as fp32 bits: for magnitudes the order of bits is the order of values, and Inf
// and NaN are the largest, so one maximum finds both amax and whether all are finite.
HWY_INLINE int32_t LargestMagnitudeBits(const float* x, int64_t k) {
  const DI di;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(di));
  const auto magnitude = hn::Set(di, 0x7FFFFFFF);
  auto most = hn::Zero(di);
  int64_t i = 0;
  for (; i + lanes <= k; i += lanes) {
    const auto bits = hn::LoadU(di, reinterpret_cast<const int32_t*>(x + i));
    most = hn::Max(most, hn::And(bits, magnitude));
  }
  int32_t largest = hn::GetLane(hn::MaxOfLanes(di, most));
  for (; i < k; ++i) {
    int32_t bits;
    std::memcpy(&bits, x + i, sizeof(bits));
    largest = std::max(largest, bits & 0x7FFFFFFF);
  }
  return largest;
}

// fp8 codes of one block of kActivationBlock values.
HWY_INLINE void EncodeBlock(const float* x, float scale, int8_t* codes) {
#if HWY_TARGET == HWY_SCALAR
  for (int64_t i = 0; i < kActivationBlock; ++i) {
    codes[i] = static_cast<int8_t>(E4m3FromFloat(x[i] / scale));
  }
#else
  const DF df;
  const auto divisor = hn::Set(df, scale);
  for (int64_t i = 0; i < kActivationBlock; i += static_cast<int64_t>(hn::Lanes(df))) {
    const auto scaled = hn::Div(hn::LoadU(df, x + i), divisor);
    StoreAsU8(EncodeSmallFloat<4, 3>(scaled, kE4m3Max, kE4m3Nan),
              reinterpret_cast<std::byte*>(codes + i));
  }
#endif
}

// INT8 codes of one block of kActivationBlock values; returns their sum.
HWY_INLINE int32_t QuantizeBlock(const float* x, float scale, int8_t* codes) {
  const DF df;
  const DI di;
  const hn::Rebind<int8_t, DF> d8;
  const auto divisor = hn::Set(df, scale);
  const auto limit = hn::Set(df, 127.0f);
  auto sum = hn::Zero(di);
  for (int64_t i = 0; i < kActivationBlock; i += static_cast<int64_t>(hn::Lanes(df))) {
    const auto scaled = hn::Round(hn::Div(hn::LoadU(df, x + i), divisor));
    const auto code = hn::ConvertTo(di, hn::Clamp(scaled, hn::Neg(limit), limit));
    sum = hn::Add(sum, code);
    hn::StoreU(hn::DemoteTo(d8, code), d8, codes + i);
  }
  return hn::GetLane(hn::SumOfLanes(di, sum));
}

// One row as blocks: `block(values, codes, index)` for each, the last one filled up with zeros.
template <class Block>
HWY_INLINE void ForBlocks(const float* x, int64_t k, int8_t* codes, const Block& block) {
  const int64_t whole = k / kActivationBlock;
  for (int64_t b = 0; b < whole; ++b) {
    block(x + b * kActivationBlock, codes + b * kActivationBlock, b);
  }
  if (whole * kActivationBlock < k) {
    float tail[kActivationBlock] = {};
    std::copy(x + whole * kActivationBlock, x + k, tail);
    block(tail, codes + whole * kActivationBlock, whole);
  }
}

template <ActivationCode kCode>
HWY_INLINE void QuantizeRowsAs(const QuantizeParams& p, int64_t first, int64_t last) {
  constexpr bool kInt8 = kCode == ActivationCode::kInt8;
  const int64_t blocks = PaddedActivations(p.k) / kActivationBlock;
  for (int64_t row = first; row < last; ++row) {
    const float* x = p.x + row * p.ldx;
    int8_t* codes = p.out.codes + row * p.out.stride;
    int32_t* sums = kInt8 ? p.out.sums + row * (p.out.stride / kActivationBlock) : nullptr;
    const int32_t bits = LargestMagnitudeBits(x, p.k);
    const bool finite = bits < 0x7F800000;
    float amax;
    std::memcpy(&amax, &bits, sizeof(amax));
    const float scale =
        finite ? amax / (kInt8 ? 127.0f : 448.0f) : std::numeric_limits<float>::quiet_NaN();
    p.out.scale[row] = scale;
    if (!finite || scale == 0.0f) {
      std::memset(codes, 0, static_cast<size_t>(blocks * kActivationBlock));
      if (kInt8) std::memset(sums, 0, static_cast<size_t>(blocks) * sizeof(int32_t));
      continue;
    }
    if constexpr (kInt8) {
      int32_t sum = 0;
      ForBlocks(x, p.k, codes, [&](const float* values, int8_t* to, int64_t b) {
        sum += QuantizeBlock(values, scale, to);
        sums[b] = sum;
      });
    } else {
      ForBlocks(x, p.k, codes,
                [&](const float* values, int8_t* to, int64_t) { EncodeBlock(values, scale, to); });
    }
  }
}

void QuantizeRows(const QuantizeParams& p, int64_t first, int64_t last) {
  if (p.code == ActivationCode::kInt8) {
    QuantizeRowsAs<ActivationCode::kInt8>(p, first, last);
  } else {
    QuantizeRowsAs<ActivationCode::kE4m3>(p, first, last);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace baton::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace baton::kernels {

HWY_EXPORT(QuantizeRows);

void QuantizeRowsCpu(const QuantizeParams& params, int part, int parts) {
  const Range rows = Partition(params.m, part, parts);
  if (!rows.empty()) HWY_DYNAMIC_DISPATCH(QuantizeRows)(params, rows.begin, rows.end);
}

}  // namespace baton::kernels
#endif
