#include <array>

#include "kernels/gemm/cpu_kernels.h"
#include "kernels/numeric/formats.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/cpu_w8a8_fp8.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h, which includes this file once per target.
#include "hwy/highway.h"
#include "kernels/gemm/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace baton::kernels {
namespace HWY_NAMESPACE {

// The number of each e4m3 code.
struct E4m3Values {
  constexpr E4m3Values() {
    for (int code = 0; code < 256; ++code) {
      value[static_cast<size_t>(code)] = FloatFromE4m3(static_cast<uint8_t>(code));
    }
  }
  std::array<float, 256> value{};
};
static constexpr E4m3Values kE4m3Values;

// One vector of codes as numbers over 256: with its exponent and mantissa moved to those of fp16 a
// code stands for that, exactly and without subnormal fp32 on the way.
constexpr float kWeightUnit = 256.0f;
HWY_INLINE VF LoadE4m3(const uint8_t* from) {
  const DF df;
  const hn::Rebind<uint8_t, DF> d8;
  const hn::Rebind<uint16_t, DF> d16;
  const hn::Rebind<hwy::float16_t, DF> dh;
  const auto code = hn::PromoteTo(d16, hn::Load(d8, from));
  const auto magnitude = hn::ShiftLeft<7>(hn::And(code, hn::Set(d16, 0x7F)));
  const auto sign = hn::ShiftLeft<8>(hn::And(code, hn::Set(d16, 0x80)));
  return hn::PromoteTo(df, hn::BitCast(dh, hn::Or(magnitude, sign)));
}

struct W8A8Fp8Kernel {
  using Tiles = TallTiles;

  template <int kRows, int kPanels>
  static HWY_NOINLINE void Tile(const GemmParams& p, int64_t row, int64_t panel) {
    constexpr int kWide = kPanels * kVectors;
    const DF df;
    const uint8_t* HWY_RESTRICT a[kRows];
    const uint8_t* HWY_RESTRICT w[kPanels];
    VF acc[kRows][kWide];
    BATON_UNROLL for (int i = 0; i < kPanels; ++i) w[i] = p.w->panel(panel + i);
    BATON_UNROLL for (int r = 0; r < kRows; ++r) {
      a[r] = reinterpret_cast<const uint8_t*>(p.quantized.codes + (row + r) * p.quantized.stride);
      BATON_UNROLL for (int v = 0; v < kWide; ++v) acc[r][v] = hn::Zero(df);
    }
    const int64_t depth = p.w->k();
    for (int64_t k = 0; k < depth; ++k) {
      if constexpr (kRows == 1) PrefetchPanels<kPanels>(*p.w, panel, k * kPanel);
      VF b[kWide];
      BATON_UNROLL for (int v = 0; v < kWide; ++v) {
        b[v] = LoadE4m3(w[v / kVectors] + k * kPanel + v % kVectors * kLanes);
      }
      BATON_UNROLL for (int r = 0; r < kRows; ++r) {
        const VF x = hn::Set(df, kE4m3Values.value[a[r][k]]);
        BATON_UNROLL for (int v = 0; v < kWide; ++v) acc[r][v] = hn::MulAdd(x, b[v], acc[r][v]);
      }
    }
    // A power of two commutes with every rounding above: these are the sums of the numbers.
    const VF unit = hn::Set(df, kWeightUnit);
    HWY_ALIGN float sums[kRows * kWide * kLanes];
    BATON_UNROLL for (int r = 0; r < kRows; ++r) {
      BATON_UNROLL for (int v = 0; v < kWide; ++v) {
        hn::Store(hn::Mul(acc[r][v], unit), df, sums + (r * kWide + v) * kLanes);
      }
    }
    HWY_ALIGN float totals[kRows * kWide * kLanes] = {};
    AddScaled<kRows, kPanels>(*p.w, panel, 0, sums, totals);
    WriteTile(p, {row, row + kRows}, {panel, panel + kPanels}, totals);
  }
};

void W8A8Fp8(const GemmParams& p, Range rows, Range panels) {
  RunTiles<W8A8Fp8Kernel>(p, rows, panels);
}

}  // namespace HWY_NAMESPACE
}  // namespace baton::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace baton::kernels {

HWY_EXPORT(W8A8Fp8);

void internal::GemmW8A8Fp8(const GemmParams& params, Range rows, Range panels) {
  HWY_DYNAMIC_DISPATCH(W8A8Fp8)(params, rows, panels);
}

}  // namespace baton::kernels
#endif
