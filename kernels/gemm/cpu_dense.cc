#include <algorithm>

#include "kernels/gemm/cpu_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/cpu_dense.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h, which includes this file once per target.
#include "hwy/highway.h"
#include "kernels/gemm/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace baton::kernels {
namespace HWY_NAMESPACE {

template <typename T>
HWY_INLINE VF LoadWeights(const T* from) {
  const hn::Rebind<T, DF> d;
  if constexpr (sizeof(T) == sizeof(float)) {
    return hn::Load(d, from);
  } else {
    return hn::PromoteTo(DF(), hn::Load(d, from));
  }
}

template <typename T>
struct DenseKernel {
  using Tiles = WideTiles;

  template <int kRows, int kPanels>
  static HWY_NOINLINE void Tile(const GemmParams& p, int64_t row, int64_t panel) {
    constexpr int kWide = kPanels * kVectors;
    const DF df;
    const float* HWY_RESTRICT a[kRows];
    const T* HWY_RESTRICT w[kPanels];
    VF acc[kRows][kWide];
    BATON_UNROLL for (int i = 0; i < kPanels; ++i) {
      w[i] = reinterpret_cast<const T*>(p.w->panel(panel + i));
    }
    BATON_UNROLL for (int r = 0; r < kRows; ++r) {
      a[r] = p.a + (row + r) * p.lda;
      BATON_UNROLL for (int v = 0; v < kWide; ++v) acc[r][v] = hn::Zero(df);
    }
    const int64_t depth = p.w->k();
    for (int64_t k = 0; k < depth; ++k) {
      if constexpr (kRows == 1) {
        PrefetchPanels<kPanels>(*p.w, panel, k * kPanel * static_cast<int64_t>(sizeof(T)));
      }
      VF b[kWide];
      BATON_UNROLL for (int v = 0; v < kWide; ++v) {
        b[v] = LoadWeights(w[v / kVectors] + k * kPanel + v % kVectors * kLanes);
      }
      BATON_UNROLL for (int r = 0; r < kRows; ++r) {
        const VF x = hn::Set(df, a[r][k]);
        BATON_UNROLL for (int v = 0; v < kWide; ++v) acc[r][v] = hn::MulAdd(x, b[v], acc[r][v]);
      }
    }
    HWY_ALIGN float totals[kRows * kWide * kLanes];
    BATON_UNROLL for (int r = 0; r < kRows; ++r) {
      BATON_UNROLL for (int v = 0; v < kWide; ++v) {
        hn::Store(acc[r][v], df, totals + (r * kWide + v) * kLanes);
      }
    }
    WriteTile(p, {row, row + kRows}, {panel, panel + kPanels}, totals);
  }
};

void Fp32(const GemmParams& p, Range rows, Range panels) {
  RunTiles<DenseKernel<float>>(p, rows, panels);
}
void Fp16(const GemmParams& p, Range rows, Range panels) {
  RunTiles<DenseKernel<hwy::float16_t>>(p, rows, panels);
}
void Bf16(const GemmParams& p, Range rows, Range panels) {
  RunTiles<DenseKernel<hwy::bfloat16_t>>(p, rows, panels);
}

}  // namespace HWY_NAMESPACE
}  // namespace baton::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace baton::kernels {

HWY_EXPORT(Fp32);
HWY_EXPORT(Fp16);
HWY_EXPORT(Bf16);

void internal::GemmDense(const GemmParams& params, Range rows, Range panels) {
  switch (params.w->scheme()) {
    case WeightScheme::kFp16:
      return HWY_DYNAMIC_DISPATCH(Fp16)(params, rows, panels);
    case WeightScheme::kBf16:
      return HWY_DYNAMIC_DISPATCH(Bf16)(params, rows, panels);
    default:
      return HWY_DYNAMIC_DISPATCH(Fp32)(params, rows, panels);
  }
}

}  // namespace baton::kernels
#endif
