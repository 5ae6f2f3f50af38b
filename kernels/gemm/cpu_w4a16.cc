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

// What to subtract from Code(): the zero points of one vector of rows. With 512 bits codes become
// fp32 by a table, which can hold the symmetric zero point already.
#if HWY_TARGET == HWY_AVX3 || HWY_TARGET == HWY_AVX3_DL
template <bool kZeros>
HWY_INLINE VF Table() {
  return hn::Sub(hn::Iota(DF(), 0.0f), hn::Set(DF(), kZeros ? 0.0f : 8.0f));
}
template <bool kZeros>
HWY_INLINE VF Number(VI codes, VF table, VF zero) {
  const VF number{_mm512_permutexvar_ps(codes.raw, table.raw)};  // reads the low four bits
  return kZeros ? hn::Sub(number, zero) : number;
}
#else
template <bool kZeros>
HWY_INLINE VF Table() {
  return hn::Zero(DF());
}
template <bool kZeros>
HWY_INLINE VF Number(VI codes, VF, VF zero) {
  return hn::Sub(hn::ConvertTo(DF(), hn::And(codes, hn::Set(DI(), 15))), zero);
}
#endif

// Code minus zero point of K position kJ of a step: nibbles 0, 2, 4, 6 of a lane hold positions
// 0 … 3 and nibbles 1, 3, 5, 7 hold 4 … 7.
template <bool kZeros, int kJ>
HWY_INLINE VF Weight(VI packed, VF table, VF zero) {
  constexpr int kShift = kJ < 4 ? 8 * kJ : 8 * (kJ - 4) + 4;
  return Number<kZeros>(hn::ShiftRight<kShift>(packed), table, zero);
}

template <bool kZeros>
struct W4A16Kernel {
  using Tiles = TallTiles;

  template <int kRows, int kPanels>
  static HWY_NOINLINE void Tile(const GemmParams& p, int64_t row, int64_t panel) {
    constexpr int kWide = kPanels * kVectors;
    HWY_ALIGN float totals[kRows * kWide * kLanes] = {};  // registers hold the group's sums
    for (int64_t j = 0; j < p.w->groups(); ++j) {
      VF acc[kRows][kWide];
      SumGroup<kRows, kPanels>(p, row, panel, j, acc);
      HWY_ALIGN float sums[kRows * kWide * kLanes];
      BATON_UNROLL for (int r = 0; r < kRows; ++r) {
        BATON_UNROLL for (int v = 0; v < kWide; ++v) {
          hn::Store(acc[r][v], DF(), sums + (r * kWide + v) * kLanes);
        }
      }
      AddScaled<kRows, kPanels>(*p.w, panel, j, sums, totals);
    }
    WriteTile(p, {row, row + kRows}, {panel, panel + kPanels}, totals);
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
      if constexpr (kRows == 1) {
        PrefetchPanels<kPanels>(*p.w, panel, (first / kStep + s) * kPanel * 4);
      }
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
    BATON_UNROLL for (int v = 0; v < kWide; ++v) {
      b[v] = Weight<kZeros, kJ>(packed[v], Table<kZeros>(), zero[v]);
    }
    BATON_UNROLL for (int r = 0; r < kRows; ++r) {
      const VF x = hn::Set(DF(), a[r][kJ]);
      BATON_UNROLL for (int v = 0; v < kWide; ++v) acc[r][v] = hn::MulAdd(x, b[v], acc[r][v]);
    }
  }
};

void W4A16(const GemmParams& p, Range rows, Range panels) {
  if (p.w->has_zeros()) {
    RunTiles<W4A16Kernel<true>>(p, rows, panels);
  } else {
    RunTiles<W4A16Kernel<false>>(p, rows, panels);
  }
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
