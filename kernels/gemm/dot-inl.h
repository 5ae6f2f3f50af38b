// Exact INT32 dot products of unsigned weight bytes and signed activation bytes, four along K per
// lane. Included once per vector target.
#if defined(BATON_KERNELS_GEMM_DOT_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BATON_KERNELS_GEMM_DOT_INL_H_
#undef BATON_KERNELS_GEMM_DOT_INL_H_
#else
#define BATON_KERNELS_GEMM_DOT_INL_H_
#endif

#include <cstdint>
#include <cstring>

#include "kernels/gemm/tile-inl.h"

// Highway 1.0 names AVX-VNNI, not AVX512-VNNI, among the features of AVX3_DL.
#undef BATON_BEFORE_DOT_NAMESPACE
#if HWY_TARGET == HWY_AVX3_DL
#define BATON_BEFORE_DOT_NAMESPACE()                \
  HWY_PUSH_ATTRIBUTES(HWY_TARGET_STR ",avx512vnni") \
  static_assert(true, "ends with a semicolon")
#else
#define BATON_BEFORE_DOT_NAMESPACE() HWY_BEFORE_NAMESPACE()
#endif

BATON_BEFORE_DOT_NAMESPACE();
namespace baton::kernels {
namespace HWY_NAMESPACE {

// Four activation codes, the same in every lane.
HWY_INLINE VI BroadcastActivations(const int8_t* codes) {
  int32_t four;
  std::memcpy(&four, codes, sizeof(four));
  return hn::Set(DI(), four);
}

#if HWY_TARGET == HWY_AVX3_DL

using Weights4 = VI;
using Activations4 = VI;
HWY_INLINE Weights4 SplitWeights(VI w) { return w; }
HWY_INLINE Activations4 SplitActivations(VI a) { return a; }
HWY_INLINE VI Dot4(VI acc, Weights4 w, Activations4 a) {
  return VI{_mm512_dpbusd_epi32(acc.raw, w.raw, a.raw)};
}

#elif HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2

// Bytes 0, 2 and 1, 3 as 16-bit numbers: 255 · 127 pairs would overflow the saturating byte
// product.
struct Halves {
  VI even;
  VI odd;
};
using Weights4 = Halves;
using Activations4 = Halves;

HWY_INLINE Weights4 SplitWeights(VI w) {
  const hn::RepartitionToNarrow<hn::RebindToUnsigned<DI> > du16;
  const auto pairs = hn::BitCast(du16, w);
  return {hn::BitCast(DI(), hn::And(pairs, hn::Set(du16, 0x00FF))),
          hn::BitCast(DI(), hn::ShiftRight<8>(pairs))};
}
HWY_INLINE Activations4 SplitActivations(VI a) {
  const hn::RepartitionToNarrow<DI> d16;
  const auto pairs = hn::BitCast(d16, a);
  return {hn::BitCast(DI(), hn::ShiftRight<8>(hn::ShiftLeft<8>(pairs))),
          hn::BitCast(DI(), hn::ShiftRight<8>(pairs))};
}
HWY_INLINE VI PairDot(VI a, VI b) {
#if HWY_TARGET == HWY_AVX2
  return VI{_mm256_madd_epi16(a.raw, b.raw)};
#else
  return VI{_mm512_madd_epi16(a.raw, b.raw)};
#endif
}
HWY_INLINE VI Dot4(VI acc, const Weights4& w, const Activations4& a) {
  return hn::Add(hn::Add(acc, PairDot(w.even, a.even)), PairDot(w.odd, a.odd));
}

#else

using Weights4 = VI;
using Activations4 = VI;
HWY_INLINE Weights4 SplitWeights(VI w) { return w; }
HWY_INLINE Activations4 SplitActivations(VI a) { return a; }
template <int kByte>
HWY_INLINE VI Product(VI w, VI a) {
  const VI weight = hn::And(hn::ShiftRight<8 * kByte>(w), hn::Set(DI(), 0xFF));
  return hn::Mul(weight, hn::ShiftRight<24>(hn::ShiftLeft<24 - 8 * kByte>(a)));
}
HWY_INLINE VI Dot4(VI acc, Weights4 w, Activations4 a) {
  return hn::Add(acc, hn::Add(hn::Add(Product<0>(w, a), Product<1>(w, a)),
                              hn::Add(Product<2>(w, a), Product<3>(w, a))));
}

#endif

// Sum of the activation codes of K positions [first, last), which start and end at block borders or
// at the end of the row.
HWY_INLINE int32_t SumOfCodes(const int32_t* sums, int64_t first, int64_t last) {
  int32_t sum = 0;
  for (int64_t b = first / kActivationBlock; b * kActivationBlock < last; ++b) sum += sums[b];
  return sum;
}

}  // namespace HWY_NAMESPACE
}  // namespace baton::kernels
HWY_AFTER_NAMESPACE();

#endif  // per target
