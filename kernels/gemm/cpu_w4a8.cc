#include <algorithm>

#include "kernels/gemm/cpu_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/cpu_w4a8.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h, which includes this file once per target.
#include "hwy/highway.h"
#include "kernels/gemm/dot-inl.h"
#include "kernels/gemm/tile-inl.h"

BATON_BEFORE_DOT_NAMESPACE();
namespace baton::kernels {
namespace HWY_NAMESPACE {

struct W4A8Kernel {
  template <int kRows, int kPanels>
  static HWY_NOINLINE void Tile(const GemmParams& p, int64_t row, int64_t panel) {
    constexpr int kWide = kPanels * kVectors;
    const DF df;
    HWY_ALIGN float total[kRows * kWide * kLanes] = {};  // registers hold the group's sums
    for (int64_t j = 0; j < p.w->groups(); ++j) {
      VI acc[kRows][kWide];
      StartGroup<kRows, kPanels>(p, row, panel, j, acc);
      SumGroup<kRows, kPanels>(p, row, panel, j, acc);
      BATON_UNROLL for (int v = 0; v < kWide; ++v) {
        const VF scale =
            LoadScales(p.w->scales(panel + v / kVectors), p.w->scale_type(), j, v % kVectors);
        BATON_UNROLL for (int r = 0; r < kRows; ++r) {
          float* at = total + (r * kWide + v) * kLanes;
          hn::Store(hn::MulAdd(hn::ConvertTo(df, acc[r][v]), scale, hn::Load(df, at)), df, at);
        }
      }
    }
    BATON_UNROLL for (int i = 0; i < kPanels; ++i) {
      const int64_t first = (panel + i) * kPanel;
      HWY_ALIGN float bias[kPanel];
      LoadPanelOf(p.bias, p.w->n(), first, bias);
      BATON_UNROLL for (int v = 0; v < kVectors; ++v) {
        BATON_UNROLL for (int r = 0; r < kRows; ++r) {
          const VF sum = hn::Load(df, total + (r * kWide + i * kVectors + v) * kLanes);
          StoreOut(hn::MulAdd(sum, hn::Set(df, p.quantized.scale[row + r]),
                              hn::Load(df, bias + v * kLanes)),
                   first, v, p.w->n(), p.out + (row + r) * p.ldo);
        }
      }
    }
  }

  // Packed codes are too large by the zero point: start from -zero · Σ activations.
  template <int kRows, int kPanels>
  static HWY_INLINE void StartGroup(const GemmParams& p, int64_t row, int64_t panel, int64_t j,
                                    VI (&acc)[kRows][kPanels * kVectors]) {
    const DI di;
    const int64_t first = j * p.w->group();
    const int64_t last = std::min(p.w->k(), first + p.w->group());
    BATON_UNROLL for (int r = 0; r < kRows; ++r) {
      const int32_t* sums = p.quantized.sums + (row + r) * (p.quantized.stride / kActivationBlock);
      const int32_t sum = SumOfCodes(sums, first, last);
      BATON_UNROLL for (int v = 0; v < kPanels * kVectors; ++v) {
        acc[r][v] = p.w->has_zeros()
                        ? hn::Mul(LoadZeros(p.w->zeros(panel + v / kVectors), j, v % kVectors),
                                  hn::Set(di, -sum))
                        : hn::Set(di, -8 * sum);
      }
    }
  }

  template <int kRows, int kPanels>
  static HWY_INLINE void SumGroup(const GemmParams& p, int64_t row, int64_t panel, int64_t j,
                                  VI (&acc)[kRows][kPanels * kVectors]) {
    constexpr int kWide = kPanels * kVectors;
    const DI di;
    const VI low = hn::Set(di, 0x0F0F0F0F);
    const int64_t first = j * p.w->group();
    const int64_t last = std::min(p.w->k(), first + p.w->group());
    const int8_t* HWY_RESTRICT a[kRows];
    const int32_t* HWY_RESTRICT w[kPanels];
    BATON_UNROLL for (int r = 0; r < kRows; ++r) {
      a[r] = p.quantized.codes + (row + r) * p.quantized.stride;
    }
    BATON_UNROLL for (int i = 0; i < kPanels; ++i) {
      w[i] = reinterpret_cast<const int32_t*>(p.w->panel(panel + i));
    }
    for (int64_t k = first; k < last; k += 8) {
      VI packed[kWide];
      BATON_UNROLL for (int v = 0; v < kWide; ++v) {
        packed[v] = hn::Load(di, w[v / kVectors] + k / 8 * kPanel + v % kVectors * kLanes);
      }
      BATON_UNROLL for (int half = 0; half < 2; ++half) {
        Weights4 b[kWide];
        BATON_UNROLL for (int v = 0; v < kWide; ++v) {
          b[v] = SplitWeights(hn::And(half == 0 ? packed[v] : hn::ShiftRight<4>(packed[v]), low));
        }
        BATON_UNROLL for (int r = 0; r < kRows; ++r) {
          const Activations4 x = SplitActivations(BroadcastActivations(a[r] + k + 4 * half));
          BATON_UNROLL for (int v = 0; v < kWide; ++v) acc[r][v] = Dot4(acc[r][v], b[v], x);
        }
      }
    }
  }
};

void W4A8(const GemmParams& p, Range rows, Range panels) { RunTiles<W4A8Kernel>(p, rows, panels); }

}  // namespace HWY_NAMESPACE
}  // namespace baton::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace baton::kernels {

HWY_EXPORT(W4A8);

void internal::GemmW4A8(const GemmParams& params, Range rows, Range panels) {
  HWY_DYNAMIC_DISPATCH(W4A8)(params, rows, panels);
}

}  // namespace baton::kernels
#endif
