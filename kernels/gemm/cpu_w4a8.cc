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
  using Tiles = TallTiles;

  template <int kRows, int kPanels>
  static HWY_NOINLINE void Tile(const GemmParams& p, int64_t row, int64_t panel) {
    HWY_ALIGN float totals[kRows * kPanels * kPanel] = {};  // registers hold the group's sums
    if constexpr (kRows == 1) {
      // Memory bounds a single row: its panels are read one after the other, as they lie there.
      for (int i = 0; i < kPanels; ++i) SumPanels<1, 1>(p, row, panel + i, totals + i * kPanel);
    } else {
      SumPanels<kRows, kPanels>(p, row, panel, totals);
    }
    WriteTile(p, {row, row + kRows}, {panel, panel + kPanels}, totals);
  }

  template <int kRows, int kPanels>
  static HWY_INLINE void SumPanels(const GemmParams& p, int64_t row, int64_t panel, float* totals) {
    constexpr int kWide = kPanels * kVectors;
    for (int64_t j = 0; j < p.w->groups(); ++j) {
      VI acc[kRows][kWide];
      StartGroup<kRows, kPanels>(p, row, panel, j, acc);
      SumGroup<kRows, kPanels>(p, row, panel, j, acc);
      HWY_ALIGN int32_t sums[kRows * kWide * kLanes];
      BATON_UNROLL for (int r = 0; r < kRows; ++r) {
        BATON_UNROLL for (int v = 0; v < kWide; ++v) {
          hn::Store(acc[r][v], DI(), sums + (r * kWide + v) * kLanes);
        }
      }
      AddScaled<kRows, kPanels>(*p.w, panel, j, sums, totals);
    }
  }

  // Packed codes are too large by the zero point: start from -zero · Σ activations.
  template <int kRows, int kPanels>
  static HWY_INLINE void StartGroup(const GemmParams& p, int64_t row, int64_t panel, int64_t j,
                                    VI (&acc)[kRows][kPanels * kVectors]) {
    const DI di;
    const int64_t first = j * p.w->group();
    const int64_t last = std::min(p.w->k(), first + p.w->group());
    const int64_t blocks = p.quantized.stride / kActivationBlock;
    BATON_UNROLL for (int r = 0; r < kRows; ++r) {
      const int32_t sum = SumOfCodes(p.quantized.sums + (row + r) * blocks, first, last);
      BATON_UNROLL for (int v = 0; v < kPanels * kVectors; ++v) acc[r][v] = hn::Set(di, -8 * sum);
    }
    if (!p.w->has_zeros()) return;
    BATON_UNROLL for (int v = 0; v < kPanels * kVectors; ++v) {
      const VI zero = LoadZeros(p.w->zeros(panel + v / kVectors), j, v % kVectors);
      BATON_UNROLL for (int r = 0; r < kRows; ++r) {
        const int32_t sum = SumOfCodes(p.quantized.sums + (row + r) * blocks, first, last);
        acc[r][v] = hn::Mul(zero, hn::Set(di, -sum));
      }
    }
  }

  template <int kRows, int kPanels>
  static HWY_INLINE void SumGroup(const GemmParams& p, int64_t row, int64_t panel, int64_t j,
                                  VI (&acc)[kRows][kPanels * kVectors]) {
    constexpr int kWide = kPanels * kVectors;
    const int64_t first = j * p.w->group();
    const int64_t last = std::min(p.w->k(), first + p.w->group());
    const int8_t* a[kRows];
    const int32_t* w[kPanels];
    BATON_UNROLL for (int r = 0; r < kRows; ++r) {
      a[r] = p.quantized.codes + (row + r) * p.quantized.stride;
    }
    BATON_UNROLL for (int i = 0; i < kPanels; ++i) {
      w[i] = reinterpret_cast<const int32_t*>(p.w->panel(panel + i));
    }
    if constexpr (kDot4IsExact32 && kRows * kWide == 1) {
      // Four chains of dot products instead of one: their sum is exact in any order.
      VI more[3] = {hn::Zero(DI()), hn::Zero(DI()), hn::Zero(DI())};
      for (int64_t k = first; k < last; k += 16) {
        PrefetchPanels<1>(*p.w, panel, k / 8 * kPanel * 4);
        PrefetchPanels<1>(*p.w, panel, (k / 8 + 1) * kPanel * 4);
        StepOfRow(w[0], a[0], k, acc[0][0], more[0]);
        StepOfRow(w[0], a[0], k + 8, more[1], more[2]);
      }
      acc[0][0] = hn::Add(hn::Add(acc[0][0], more[0]), hn::Add(more[1], more[2]));
      return;
    }
    if constexpr (kDot4IsExact32) {
      for (int64_t k = first; k < last; k += 8) Step<kRows, kPanels>(w, a, k, acc);
      return;
    }
    for (int64_t block = first; block < last; block += kActivationBlock) {
      VI sums[kRows][kWide];
      BATON_UNROLL for (int r = 0; r < kRows; ++r) {
        BATON_UNROLL for (int v = 0; v < kWide; ++v) sums[r][v] = hn::Zero(DI());
      }
      for (int64_t k = block; k < block + kActivationBlock; k += 8) {
        Step<kRows, kPanels>(w, a, k, sums);
      }
      BATON_UNROLL for (int r = 0; r < kRows; ++r) {
        BATON_UNROLL for (int v = 0; v < kWide; ++v) acc[r][v] = AddBlock(acc[r][v], sums[r][v]);
      }
    }
  }

  // Eight K positions of one row and one vector of output features.
  static HWY_INLINE void StepOfRow(const int32_t* w, const int8_t* a, int64_t k, VI& low_sum,
                                   VI& high_sum) {
    const VI low = hn::Set(DI(), 0x0F0F0F0F);
    const VI packed = hn::Load(DI(), w + k / 8 * kPanel);
    low_sum = Dot4(low_sum, hn::And(packed, low), BroadcastActivations(a + k));
    high_sum =
        Dot4(high_sum, hn::And(hn::ShiftRight<4>(packed), low), BroadcastActivations(a + k + 4));
  }

  // Eight K positions.
  template <int kRows, int kPanels>
  static HWY_INLINE void Step(const int32_t* const (&w)[kPanels], const int8_t* const (&a)[kRows],
                              int64_t k, VI (&acc)[kRows][kPanels * kVectors]) {
    constexpr int kWide = kPanels * kVectors;
    const VI low = hn::Set(DI(), 0x0F0F0F0F);
    VI packed[kWide];
    VI b[kWide];
    BATON_UNROLL for (int v = 0; v < kWide; ++v) {
      packed[v] = hn::Load(DI(), w[v / kVectors] + k / 8 * kPanel + v % kVectors * kLanes);
      b[v] = hn::And(packed[v], low);
    }
    BATON_UNROLL for (int r = 0; r < kRows; ++r) {
      const VI x = BroadcastActivations(a[r] + k);
      BATON_UNROLL for (int v = 0; v < kWide; ++v) acc[r][v] = Dot4(acc[r][v], b[v], x);
    }
    BATON_UNROLL for (int v = 0; v < kWide; ++v) b[v] = hn::And(hn::ShiftRight<4>(packed[v]), low);
    BATON_UNROLL for (int r = 0; r < kRows; ++r) {
      const VI x = BroadcastActivations(a[r] + k + 4);
      BATON_UNROLL for (int v = 0; v < kWide; ++v) acc[r][v] = Dot4(acc[r][v], b[v], x);
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
