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
      // Packed codes are 128 too large.
      const VI start = hn::Set(di, -128 * SumOfCodes(sums, 0, depth));
      BATON_UNROLL for (int v = 0; v < kWide; ++v) acc[r][v] = start;
    }
    for (int64_t k = 0; k < depth; k += 4) {
      Weights4 b[kWide];
      BATON_UNROLL for (int v = 0; v < kWide; ++v) {
        b[v] = SplitWeights(hn::Load(di, w[v / kVectors] + k / 4 * kPanel + v % kVectors * kLanes));
      }
      BATON_UNROLL for (int r = 0; r < kRows; ++r) {
        const Activations4 x = SplitActivations(BroadcastActivations(a[r] + k));
        BATON_UNROLL for (int v = 0; v < kWide; ++v) acc[r][v] = Dot4(acc[r][v], b[v], x);
      }
    }
    BATON_UNROLL for (int i = 0; i < kPanels; ++i) {
      BATON_UNROLL for (int v = 0; v < kVectors; ++v) {
        BATON_UNROLL for (int r = 0; r < kRows; ++r) {
          Finish(p, row + r, panel + i, v, acc[r][i * kVectors + v]);
        }
      }
    }
  }

  static HWY_INLINE void Finish(const GemmParams& p, int64_t row, int64_t panel, int v, VI sum) {
    const DF df;
    HWY_ALIGN float bias[kPanel];
    LoadPanelOf(p.bias, p.w->n(), panel * kPanel, bias);
    const VF scale = LoadScales(p.w->scales(panel), p.w->scale_type(), 0, v);
    const VF value =
        hn::MulAdd(hn::Mul(hn::ConvertTo(df, sum), scale), hn::Set(df, p.quantized.scale[row]),
                   hn::Load(df, bias + v * kLanes));
    StoreOut(value, panel * kPanel, v, p.w->n(), p.out + row * p.ldo);
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
