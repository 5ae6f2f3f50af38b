// Exact INT32 dot products of weight bytes and signed activation bytes, four along K per lane.
// Included once per vector target.
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

// Sum of the activation codes of K positions [first, last): borders of blocks, or the end of the
// row.
HWY_INLINE int32_t SumOfCodes(const int32_t* sums, int64_t first, int64_t last) {
  const int32_t before = first == 0 ? 0 : sums[first / kActivationBlock - 1];
  return sums[(last + kActivationBlock - 1) / kActivationBlock - 1] - before;
}

// Every target defines
//   Weights8, PrepareWeights(w)   packed INT8 codes made ready to multiply, once for many rows
//   kExcess                       what Dot8 computes with is the code + kExcess
//   Dot8(sum, weights, a)         INT8 weights
//   Dot4(sum, w, a)               unsigned weights up to 15, into Sums4, which holds one block of
//                                 kActivationBlock positions; AddBlock adds it to an INT32 sum
#if HWY_TARGET == HWY_AVX3_DL

constexpr int32_t kExcess = 128;
using Weights8 = VI;
HWY_INLINE Weights8 PrepareWeights(VI w) { return w; }
HWY_INLINE VI Dot8(VI sum, Weights8 w, VI a) {
  return VI{_mm512_dpbusd_epi32(sum.raw, w.raw, a.raw)};
}
HWY_INLINE VI Dot4(VI sum, VI w, VI a) { return Dot8(sum, w, a); }
constexpr bool kDot4IsExact32 = true;
HWY_INLINE VI AddBlock(VI sum, VI block) { return hn::Add(sum, block); }

#elif HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX2

#if HWY_TARGET == HWY_AVX2
// The saturating product of bytes: pairs of |w| · ±a stay within 2 · 128 · 127 < 2^15.
constexpr int32_t kExcess = 0;
struct Weights8 {
  VI code;
  VI magnitude;
};
HWY_INLINE Weights8 PrepareWeights(VI w) {
  const VI code = hn::Xor(w, hn::Set(DI(), static_cast<int32_t>(0x80808080)));
  return {code, VI{_mm256_abs_epi8(code.raw)}};
}
HWY_INLINE VI Dot8(VI sum, const Weights8& w, VI a) {
  const __m256i pairs = _mm256_maddubs_epi16(w.magnitude.raw, _mm256_sign_epi8(a.raw, w.code.raw));
  return hn::Add(sum, VI{_mm256_madd_epi16(pairs, _mm256_set1_epi16(1))});
}
HWY_INLINE VI Dot4(VI sum, VI w, VI a) {
  return VI{_mm256_add_epi16(sum.raw, _mm256_maddubs_epi16(w.raw, a.raw))};
}
HWY_INLINE VI AddBlock(VI sum, VI block) {
  return hn::Add(sum, VI{_mm256_madd_epi16(block.raw, _mm256_set1_epi16(1))});
}
#else
// Bytes 0, 2 and 1, 3 as 16-bit numbers: the saturating product of bytes has no sign operation
// here.
constexpr int32_t kExcess = 128;
struct Weights8 {
  VI even;
  VI odd;
};
HWY_INLINE Weights8 PrepareWeights(VI w) {
  return {hn::And(w, hn::Set(DI(), 0x00FF00FF)), VI{_mm512_srli_epi16(w.raw, 8)}};
}
HWY_INLINE VI Dot8(VI sum, const Weights8& w, VI a) {
  const __m512i even = _mm512_srai_epi16(_mm512_slli_epi16(a.raw, 8), 8);
  const __m512i odd = _mm512_srai_epi16(a.raw, 8);
  return hn::Add(hn::Add(sum, VI{_mm512_madd_epi16(w.even.raw, even)}),
                 VI{_mm512_madd_epi16(w.odd.raw, odd)});
}
HWY_INLINE VI Dot4(VI sum, VI w, VI a) {
  return VI{_mm512_add_epi16(sum.raw, _mm512_maddubs_epi16(w.raw, a.raw))};
}
HWY_INLINE VI AddBlock(VI sum, VI block) {
  return hn::Add(sum, VI{_mm512_madd_epi16(block.raw, _mm512_set1_epi16(1))});
}
#endif
// A block adds eight pairs to a 16-bit sum: 8 · 2 · 15 · 127 < 2^15.
constexpr bool kDot4IsExact32 = false;
static_assert(kActivationBlock / 4 * 2 * 15 * 127 < 32768);

#else

constexpr int32_t kExcess = 128;
using Weights8 = VI;
HWY_INLINE Weights8 PrepareWeights(VI w) { return w; }
template <int kByte>
HWY_INLINE VI Product(VI w, VI a) {
  const VI weight = hn::And(hn::ShiftRight<8 * kByte>(w), hn::Set(DI(), 0xFF));
  return hn::Mul(weight, hn::ShiftRight<24>(hn::ShiftLeft<24 - 8 * kByte>(a)));
}
HWY_INLINE VI Dot8(VI sum, Weights8 w, VI a) {
  return hn::Add(sum, hn::Add(hn::Add(Product<0>(w, a), Product<1>(w, a)),
                              hn::Add(Product<2>(w, a), Product<3>(w, a))));
}
HWY_INLINE VI Dot4(VI sum, VI w, VI a) { return Dot8(sum, w, a); }
constexpr bool kDot4IsExact32 = true;
HWY_INLINE VI AddBlock(VI sum, VI block) { return hn::Add(sum, block); }

#endif

}  // namespace HWY_NAMESPACE
}  // namespace baton::kernels
HWY_AFTER_NAMESPACE();

#endif  // per target
