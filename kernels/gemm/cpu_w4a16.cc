#include <algorithm>

#include "kernels/gemm/cpu_kernels.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/cpu_w4a16.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h, which includes this file once per target.
#include "hwy/highway.h"
#include "kernels/gemm/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace baton::kernels {
namespace HWY_NAMESPACE {

constexpr int64_t kStep = 8;  // K positions in one 32-bit lane of packed codes

// The code of K position kJ of a step: nibbles 0, 2, 4, 6 hold 0 … 3 and nibbles 1, 3, 5, 7 hold 4
// … 7.
template <int kJ>
HWY_INLINE VF Code(VI packed) {
  constexpr int kShift = kJ < 4 ? 8 * kJ : 8 * (kJ - 4) + 4;
  return hn::ConvertTo(DF(), hn::And(hn::ShiftRight<kShift>(packed), hn::Set(DI(), 15)));
}

struct W4A16Kernel {
  template <int kRows, int kPanels>
  static HWY_NOINLINE void Tile(const GemmParams& p, int64_t row, int64_t panel) {
    constexpr int kWide = kPanels * kVectors;
    const DF df;
    HWY_ALIGN float total[kRows * kWide * kLanes] = {};  // registers hold the group's sums
    for (int64_t j = 0; j < p.w->groups(); ++j) {
      VF acc[kRows][kWide];
      SumGroup<kRows, kPanels>(p, row, panel, j, acc);
      BATON_UNROLL for (int v = 0; v < kWide; ++v) {
        const VF scale =
            LoadScales(p.w->scales(panel + v / kVectors), p.w->scale_type(), j, v % kVectors);
        BATON_UNROLL for (int r = 0; r < kRows; ++r) {
          float* at = total + (r * kWide + v) * kLanes;
          hn::Store(hn::MulAdd(acc[r][v], scale, hn::Load(df, at)), df, at);
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
          StoreOut(hn::Add(sum, hn::Load(df, bias + v * kLanes)), first, v, p.w->n(),
                   p.out + (row + r) * p.ldo);
        }
      }
    }
  }

  template <int kRows, int kPanels>
  static HWY_INLINE void SumGroup(const GemmParams& p, int64_t row, int64_t panel, int64_t j,
                                  VF (&acc)[kRows][kPanels * kVectors]) {
    constexpr int kWide = kPanels * kVectors;
    const DF df;
    const int64_t first = j * p.w->group();
    const int64_t last = std::min(p.w->k(), first + p.w->group());
    const float* a[kRows];
    const int32_t* w[kPanels];
    VF zero[kWide];
    BATON_UNROLL for (int v = 0; v < kWide; ++v) {
      zero[v] =
          p.w->has_zeros()
              ? hn::ConvertTo(df, LoadZeros(p.w->zeros(panel + v / kVectors), j, v % kVectors))
              : hn::Set(df, 8.0f);
    }
    BATON_UNROLL for (int i = 0; i < kPanels; ++i) {
      w[i] = reinterpret_cast<const int32_t*>(p.w->panel(panel + i)) + first / kStep * kPanel;
    }
    BATON_UNROLL for (int r = 0; r < kRows; ++r) {
      a[r] = p.a + (row + r) * p.lda + first;
      BATON_UNROLL for (int v = 0; v < kWide; ++v) acc[r][v] = hn::Zero(df);
    }
    const int64_t whole = (last - first) / kStep;
    for (int64_t s = 0; s < whole; ++s) {
      SumStep<kRows, kPanels>(w, s, a, zero, acc);
      BATON_UNROLL for (int r = 0; r < kRows; ++r) a[r] += kStep;
    }
    if (first + whole * kStep < last) {
      float tail[kRows][kStep] = {};
      BATON_UNROLL for (int r = 0; r < kRows; ++r) {
        std::copy(a[r], a[r] + (last - first - whole * kStep), tail[r]);
        a[r] = tail[r];
      }
      SumStep<kRows, kPanels>(w, whole, a, zero, acc);
    }
  }

  template <int kRows, int kPanels>
  static HWY_INLINE void SumStep(const int32_t* const (&w)[kPanels], int64_t step,
                                 const float* const (&a)[kRows],
                                 const VF (&zero)[kPanels * kVectors],
                                 VF (&acc)[kRows][kPanels * kVectors]) {
    constexpr int kWide = kPanels * kVectors;
    VI packed[kWide];
    BATON_UNROLL for (int v = 0; v < kWide; ++v) {
      packed[v] = hn::Load(DI(), w[v / kVectors] + step * kPanel + v % kVectors * kLanes);
    }
    Fma<0, kRows, kWide>(packed, a, zero, acc);
    Fma<1, kRows, kWide>(packed, a, zero, acc);
    Fma<2, kRows, kWide>(packed, a, zero, acc);
    Fma<3, kRows, kWide>(packed, a, zero, acc);
    Fma<4, kRows, kWide>(packed, a, zero, acc);
    Fma<5, kRows, kWide>(packed, a, zero, acc);
    Fma<6, kRows, kWide>(packed, a, zero, acc);
    Fma<7, kRows, kWide>(packed, a, zero, acc);
  }

  template <int kJ, int kRows, int kWide>
  static HWY_INLINE void Fma(const VI (&packed)[kWide], const float* const (&a)[kRows],
                             const VF (&zero)[kWide], VF (&acc)[kRows][kWide]) {
    VF b[kWide];
    BATON_UNROLL for (int v = 0; v < kWide; ++v) b[v] = hn::Sub(Code<kJ>(packed[v]), zero[v]);
    BATON_UNROLL for (int r = 0; r < kRows; ++r) {
      const VF x = hn::Set(DF(), a[r][kJ]);
      BATON_UNROLL for (int v = 0; v < kWide; ++v) acc[r][v] = hn::MulAdd(x, b[v], acc[r][v]);
    }
  }
};

void W4A16(const GemmParams& p, Range rows, Range panels) {
  RunTiles<W4A16Kernel>(p, rows, panels);
}

}  // namespace HWY_NAMESPACE
}  // namespace baton::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace baton::kernels {

HWY_EXPORT(W4A16);

void internal::GemmW4A16(const GemmParams& params, Range rows, Range panels) {
  HWY_DYNAMIC_DISPATCH(W4A16)(params, rows, panels);
}

}  // namespace baton::kernels
#endif
