#include "kernels/activation/activation.h"
#include "kernels/numeric/partition.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/activation/cpu.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/activation/exp-inl.h"

HWY_BEFORE_NAMESPACE();
namespace baton::kernels {
namespace HWY_NAMESPACE {

using Tag = hn::ScalableTag<float>;
using Vec = hn::Vec<Tag>;

HWY_INLINE Vec SwiGluOne(Vec gate, Vec up) {
  const Tag df;
  const Vec denominator = hn::Add(hn::Set(df, 1.0f), Exp(df, hn::Neg(gate)));
  return hn::Mul(hn::Div(gate, denominator), up);
}

// A short tail is padded with zeros and goes through the same code as whole vectors.
HWY_INLINE void SwiGluRange(const float* gate, const float* up, float* out, Range columns) {
  const Tag df;
  const int64_t lanes = static_cast<int64_t>(hn::Lanes(df));
  int64_t i = columns.begin;
  for (; i + lanes <= columns.end; i += lanes) {
    hn::StoreU(SwiGluOne(hn::LoadU(df, gate + i), hn::LoadU(df, up + i)), df, out + i);
  }
  if (i < columns.end) {
    const auto mask = hn::FirstN(df, static_cast<size_t>(columns.end - i));
    const Vec y = SwiGluOne(hn::MaskedLoad(mask, df, gate + i), hn::MaskedLoad(mask, df, up + i));
    hn::BlendedStore(y, mask, df, out + i);
  }
}

void SwiGlu(const SwiGluParams& params, int part, int parts) {
  const bool by_rows = params.rows >= parts;
  const Range rows = by_rows ? Partition(params.rows, part, parts) : Range{0, params.rows};
  const Range columns = by_rows ? Range{0, params.dim} : Partition(params.dim, part, parts, 16);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    SwiGluRange(params.gate + row * params.gate_stride, params.up + row * params.up_stride,
                params.out + row * params.out_stride, columns);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace baton::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace baton::kernels {

HWY_EXPORT(SwiGlu);

void SwiGluCpu(const SwiGluParams& params, int part, int parts) {
  HWY_DYNAMIC_DISPATCH(SwiGlu)(params, part, parts);
}

}  // namespace baton::kernels
#endif  // HWY_ONCE
