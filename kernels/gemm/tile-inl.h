// What the vector kernels of all schemes share: tile shapes, the loop over tiles, the epilogue.
// Included once per vector target.
#if defined(BATON_KERNELS_GEMM_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BATON_KERNELS_GEMM_TILE_INL_H_
#undef BATON_KERNELS_GEMM_TILE_INL_H_
#else
#define BATON_KERNELS_GEMM_TILE_INL_H_
#endif

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "hwy/highway.h"
#include "kernels/gemm/gemm.h"
#include "kernels/numeric/partition.h"

// Accumulators live in registers only where the loops over a tile are fully unrolled.
#define BATON_UNROLL _Pragma("GCC unroll 16")

HWY_BEFORE_NAMESPACE();
namespace baton::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

using DF = HWY_CAPPED(float, 16);
using DI = hn::RebindToSigned<DF>;
using VF = hn::Vec<DF>;
using VI = hn::Vec<DI>;

constexpr int kLanes = static_cast<int>(hn::MaxLanes(DF()));
constexpr int kPanel = static_cast<int>(PackedWeight::kPanel);
constexpr int kVectors = kPanel / kLanes;  // per panel
constexpr int kBlockPanels = 4;            // panels that stay in cache for all rows

// Tiles of kRows rows × P panels: as many accumulators as the registers hold beside a row of
// weights (32 vector registers of 16 lanes on AVX-512, 16 of 8 elsewhere).
constexpr int PanelsPerTile(int rows) {
  if (kLanes == 16) return 4;
  return rows == 1 ? 4 : rows == 2 ? 2 : 1;
}

constexpr int64_t TileRows(int64_t left) {
  if (left >= 6 && left != 8) return 6;
  return left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

// Runs Kernel::Tile<kRows, kPanels>(params, first row, first panel) over rows × panels.
template <class Kernel, int kRows>
HWY_INLINE void RunRowOfTiles(const GemmParams& p, int64_t row, Range panels) {
  constexpr int kTilePanels = PanelsPerTile(kRows);
  int64_t panel = panels.begin;
  for (; panel + kTilePanels <= panels.end; panel += kTilePanels) {
    Kernel::template Tile<kRows, kTilePanels>(p, row, panel);
  }
  if constexpr (kTilePanels > 1) {
    for (; panel < panels.end; ++panel) Kernel::template Tile<kRows, 1>(p, row, panel);
  }
}

template <class Kernel>
HWY_INLINE void RunTiles(const GemmParams& p, Range rows, Range panels) {
  for (int64_t first = panels.begin; first < panels.end; first += kBlockPanels) {
    const Range block{first, std::min<int64_t>(first + kBlockPanels, panels.end)};
    for (int64_t row = rows.begin; row < rows.end; row += TileRows(rows.end - row)) {
      switch (TileRows(rows.end - row)) {
        case 6:
          RunRowOfTiles<Kernel, 6>(p, row, block);
          break;
        case 4:
          RunRowOfTiles<Kernel, 4>(p, row, block);
          break;
        case 2:
          RunRowOfTiles<Kernel, 2>(p, row, block);
          break;
        default:
          RunRowOfTiles<Kernel, 1>(p, row, block);
      }
    }
  }
}

// `count` entries of `from`, or zeros without it, zero-padded to one panel.
HWY_INLINE void LoadPanelOf(const float* from, int64_t n, int64_t first, float* HWY_RESTRICT to) {
  const int64_t count = std::min<int64_t>(kPanel, n - first);
  for (int i = 0; i < kPanel; ++i) to[i] = from != nullptr && i < count ? from[first + i] : 0.0f;
}

// Writes vector `v` of the panel that starts at feature `first`, cut at n.
HWY_INLINE void StoreOut(VF value, int64_t first, int v, int64_t n, float* HWY_RESTRICT row) {
  const DF df;
  const int64_t at = first + v * kLanes;
  if (at + kLanes <= n) {
    hn::StoreU(value, df, row + at);
    return;
  }
  HWY_ALIGN float lanes[kLanes];
  hn::Store(value, df, lanes);
  for (int64_t i = at; i < n; ++i) row[i] = lanes[i - at];
}

// Vector `v` of the scales of one panel and group.
HWY_INLINE VF LoadScales(const uint8_t* panel_scales, ScalarType type, int64_t group, int v) {
  const DF df;
  const int64_t at = group * kPanel + v * kLanes;
  switch (type) {
    case ScalarType::kFp16: {
      const hn::Rebind<hwy::float16_t, DF> dh;
      return hn::PromoteTo(
          df, hn::LoadU(dh, reinterpret_cast<const hwy::float16_t*>(panel_scales) + at));
    }
    case ScalarType::kBf16: {
      const hn::Rebind<hwy::bfloat16_t, DF> db;
      return hn::PromoteTo(
          df, hn::LoadU(db, reinterpret_cast<const hwy::bfloat16_t*>(panel_scales) + at));
    }
    case ScalarType::kFp32:
      break;
  }
  return hn::LoadU(df, reinterpret_cast<const float*>(panel_scales) + at);
}

// Vector `v` of the zero points of one panel and group.
HWY_INLINE VI LoadZeros(const uint8_t* panel_zeros, int64_t group, int v) {
  const hn::Rebind<uint8_t, DI> d8;
  return hn::PromoteTo(DI(), hn::LoadU(d8, panel_zeros + group * kPanel + v * kLanes));
}

}  // namespace HWY_NAMESPACE
}  // namespace baton::kernels
HWY_AFTER_NAMESPACE();

#endif  // per target
