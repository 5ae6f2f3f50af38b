// The exponential of every CPU kernel, for inclusion under hwy/foreach_target.h.

#if defined(BATON_KERNELS_ACTIVATION_EXP_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BATON_KERNELS_ACTIVATION_EXP_INL_H_
#undef BATON_KERNELS_ACTIVATION_EXP_INL_H_
#else
#define BATON_KERNELS_ACTIVATION_EXP_INL_H_
#endif

#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace baton::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

// exp(x) within 2 ulp for -87.3 <= x <= 88.3; below: 0, above: infinity; NaN stays NaN; exp(0) is
// exactly 1. x = n ln 2 + r with |r| <= ln 2 / 2; ln 2 in two parts, the first exact times any n;
// Cephes' polynomial in r.
template <class D, class V = hn::Vec<D>>
HWY_INLINE V Exp(D df, V x) {
  const hn::RebindToSigned<D> di;
  const V low = hn::Set(df, -87.3f);
  const V high = hn::Set(df, 88.3f);
  const V n = hn::Round(hn::Mul(x, hn::Set(df, 1.44269504f)));
  V r = hn::NegMulAdd(n, hn::Set(df, 0.693359375f), x);
  r = hn::NegMulAdd(n, hn::Set(df, -2.12194440e-4f), r);
  V p = hn::Set(df, 1.9875691500e-4f);
  p = hn::MulAdd(p, r, hn::Set(df, 1.3981999507e-3f));
  p = hn::MulAdd(p, r, hn::Set(df, 8.3334519073e-3f));
  p = hn::MulAdd(p, r, hn::Set(df, 4.1665795894e-2f));
  p = hn::MulAdd(p, r, hn::Set(df, 1.6666665459e-1f));
  p = hn::MulAdd(p, r, hn::Set(df, 5.0000001201e-1f));
  p = hn::MulAdd(p, hn::Mul(r, r), r);
  p = hn::Add(p, hn::Set(df, 1.0f));
  // Out of range (and for NaN) n is clamped to keep the shift defined; the result is replaced
  // below.
  const V n_safe = hn::Min(hn::Max(n, hn::Set(df, -126.0f)), hn::Set(df, 127.0f));
  const auto exponent = hn::ShiftLeft<23>(hn::Add(hn::ConvertTo(di, n_safe), hn::Set(di, 127)));
  V y = hn::Mul(p, hn::BitCast(df, exponent));
  y = hn::IfThenElse(hn::Lt(x, low), hn::Zero(df), y);
  return hn::IfThenElse(hn::Gt(x, high), hn::Inf(df), y);
}

}  // namespace HWY_NAMESPACE
}  // namespace baton::kernels
HWY_AFTER_NAMESPACE();

#endif  // toggle guard
