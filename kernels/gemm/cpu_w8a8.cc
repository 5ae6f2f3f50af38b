#include <algorithm>

#include "kernels/gemm/cpu_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/cpu_w8a8.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h, which includes this file once per target.
#include "hwy/highway.h"
#include "kernels/gemm/dot-inl.h"
#include "kernels/gemm/tile-inl.h"

BATON_BEFORE_DOT_NAMESPACE();
namespace baton::kernels {
namespace HWY_NAMESPACE {

struct W8A8Kernel {
  using Tiles = WideTiles;

  template <int kRows, int kPanels>
  static HWY_NOINLINE void Tile(const GemmParams& p, int64_t row, int64_t panel) {
    constexpr int kWide = kPanels * kVectors;
    const DI di;
    const int64_t depth = p.w->k();
    const int8_t* HWY_RESTRICT a[kRows];
    const int32_t* HWY_RESTRICT w[kPanels];
    VI acc[kRows][kWide];
    BATON_UNROLL for (int i = 0; i < kPanels; ++i) {
      w[i] = reinterpret_cast<const int32_t*>(p.w->panel(panel + i));
    }
    BATON_UNROLL for (int r = 0; r < kRows; ++r) {
      a[r] = p.quantized.codes + (row + r) * p.quantized.stride;
      const int32_t* sums = p.quantized.sums + (row + r) * (p.quantized.stride / kActivationBlock);
      const VI start = hn::Set(di, -kExcess * SumOfCodes(sums, 0, depth));
      BATON_UNROLL for (int v = 0; v < kWide; ++v) acc[r][v] = start;
    }
    for (int64_t k = 0; k < depth; k += 4) {
      if constexpr (kRows == 1) PrefetchPanels<kPanels>(*p.w, panel, k * kPanel);
      Weights8 b[kWide];
      BATON_UNROLL for (int v = 0; v < kWide; ++v) {
        b[v] =
            PrepareWeights(hn::Load(di, w[v / kVectors] + k / 4 * kPanel + v % kVectors * kLanes));
      }
      BATON_UNROLL for (int r = 0; r < kRows; ++r) {
        const VI x = BroadcastActivations(a[r] + k);
        BATON_UNROLL for (int v = 0; v < kWide; ++v) acc[r][v] = Dot8(acc[r][v], b[v], x);
      }
    }
    HWY_ALIGN int32_t sums[kRows * kWide * kLanes];
    BATON_UNROLL for (int r = 0; r < kRows; ++r) {
      BATON_UNROLL for (int v = 0; v < kWide; ++v) {
        hn::Store(acc[r][v], di, sums + (r * kWide + v) * kLanes);
      }
    }
    HWY_ALIGN float totals[kRows * kWide * kLanes] = {};
    AddScaled<kRows, kPanels>(*p.w, panel, 0, sums, totals);
    WriteTile(p, {row, row + kRows}, {panel, panel + kPanels}, totals);
  }
};

void W8A8(const GemmParams& p, Range rows, Range panels) { RunTiles<W8A8Kernel>(p, rows, panels); }

}  // namespace HWY_NAMESPACE
}  // namespace baton::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace baton::kernels {

HWY_EXPORT(W8A8);

void internal::GemmW8A8(const GemmParams& params, Range rows, Range panels) {
  HWY_DYNAMIC_DISPATCH(W8A8)(params, rows, panels);
}

}  // namespace baton::kernels
#endif
