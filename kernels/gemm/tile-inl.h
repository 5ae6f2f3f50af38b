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

#include "hwy/cache_control.h"
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

// Tiles are kRows rows × Panels(kRows) panels, kRows from { kTallest, 4, 2, 1 }: as many
// accumulators as the vector registers hold beside one row of weights. With 512 bits there are 32
// registers and a panel is one vector, elsewhere 16 and two or more.
struct WideTiles {  // weights are used as they are loaded
  static constexpr int kTallest = 6;
  static constexpr int Panels(int rows) {
    return kLanes == 16 || rows == 1 ? 4 : rows == 2 ? 2 : 1;
  }
};
struct TallTiles {  // weights are unpacked, which more rows share
  static constexpr int kTallest = kLanes == 16 ? 8 : 4;
  static constexpr int Panels(int rows) {
    if (kLanes == 16) return rows == 8 ? 2 : 4;
    return rows == 1 ? 2 : 1;
  }
};

// How far ahead a product of one row asks for its weights: it is bound by memory, and hardware
// prefetchers stop at every border of a page.
constexpr int64_t kPrefetchBytes = 2048;

// Asks for what a tile of kPanels panels, or the next one, reads kPrefetchBytes after `offset`.
template <int kPanels>
HWY_INLINE void PrefetchPanels(const PackedWeight& w, int64_t panel, int64_t offset) {
  const auto bytes = static_cast<int64_t>(w.panel_bytes());
  const int64_t next = offset + kPrefetchBytes;
  const int64_t ahead = next < bytes ? next : next + (kPanels - 1) * bytes;
  BATON_UNROLL for (int i = 0; i < kPanels; ++i) hwy::Prefetch(w.panel(panel + i) + ahead);
}

template <class Tiles>
constexpr int64_t TileRows(int64_t left) {
  // Eight rows are better cut in 4 + 4 than in 6 + 2.
  if (left >= Tiles::kTallest && (Tiles::kTallest >= 8 || left != 8)) return Tiles::kTallest;
  return left >= 4 ? 4 : left >= 2 ? 2 : 1;
}

// Runs Kernel::Tile<kRows, kPanels>(params, first row, first panel) over one row of tiles.
template <class Kernel, int kRows>
HWY_INLINE void RunRowOfTiles(const GemmParams& p, int64_t row, Range panels) {
  constexpr int kTilePanels = Kernel::Tiles::Panels(kRows);
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
  using Tiles = typename Kernel::Tiles;
  for (int64_t first = panels.begin; first < panels.end; first += kBlockPanels) {
    const Range block{first, std::min<int64_t>(first + kBlockPanels, panels.end)};
    int64_t row = rows.begin;
    while (row < rows.end) {
      const int64_t count = TileRows<Tiles>(rows.end - row);
      if (count == Tiles::kTallest) {
        RunRowOfTiles<Kernel, Tiles::kTallest>(p, row, block);
      } else if (count == 4) {
        RunRowOfTiles<Kernel, 4>(p, row, block);
      } else if (count == 2) {
        RunRowOfTiles<Kernel, 2>(p, row, block);
      } else {
        RunRowOfTiles<Kernel, 1>(p, row, block);
      }
      row += count;
    }
  }
}

// The epilogue of a tile: out = total · activation scale + bias, where schemes with fp32
// activations have the scale 1, which changes no bit. `totals` is [rows][panels · kPanel].
HWY_MAYBE_UNUSED static HWY_NOINLINE void WriteTile(const GemmParams& p, Range rows, Range panels,
                                                    const float* totals) {
  const DF df;
  const int64_t n = p.w->n();
  const bool quantized = TakesQuantizedActivations(p.w->scheme());
  const int64_t width = panels.size() * kPanel;
  for (int64_t first = panels.begin * kPanel; first < panels.end * kPanel; first += kLanes) {
    HWY_ALIGN float padded[kLanes] = {};
    const int64_t count = std::min<int64_t>(kLanes, n - first);
    if (count <= 0) return;
    for (int64_t i = 0; p.bias != nullptr && i < count; ++i) padded[i] = p.bias[first + i];
    const VF bias = hn::Load(df, padded);
    const float* total = totals + (first - panels.begin * kPanel);
    for (int64_t row = rows.begin; row < rows.end; ++row, total += width) {
      const VF scale = hn::Set(df, quantized ? p.quantized.scale[row] : 1.0f);
      const VF value = hn::MulAdd(hn::Load(df, total), scale, bias);
      float* out = p.out + row * p.ldo + first;
      if (count == kLanes) {
        hn::StoreU(value, df, out);
      } else {
        hn::Store(value, df, padded);
        std::copy(padded, padded + count, out);
      }
    }
  }
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

HWY_INLINE VF ToFloat(VF x) { return x; }
HWY_INLINE VF ToFloat(VI x) { return hn::ConvertTo(DF(), x); }

// totals += scale of group `group` · sums, both [kRows][kPanels · kPanel].
template <int kRows, int kPanels, typename T>
HWY_INLINE void AddScaledInline(const PackedWeight& w, int64_t panel, int64_t group, const T* sums,
                                float* totals) {
  const DF df;
  const hn::Rebind<T, DF> d;
  for (int i = 0; i < kPanels; ++i) {
    for (int v = 0; v < kVectors; ++v) {
      const VF scale = LoadScales(w.scales(panel + i), w.scale_type(), group, v);
      BATON_UNROLL for (int r = 0; r < kRows; ++r) {
        const int at = (r * kPanels + i) * kPanel + v * kLanes;
        const VF sum = ToFloat(hn::Load(d, sums + at));
        hn::Store(hn::MulAdd(sum, scale, hn::Load(df, totals + at)), df, totals + at);
      }
    }
  }
}
template <int kRows, int kPanels, typename T>
HWY_NOINLINE void AddScaledCall(const PackedWeight& w, int64_t panel, int64_t group, const T* sums,
                                float* totals) {
  AddScaledInline<kRows, kPanels>(w, panel, group, sums, totals);
}

// A tile of many rows fills the registers, and code that uses its accumulators after the inner loop
// makes the compiler keep them in memory within the loop: hence the call. A single row has
// registers to spare, and its call would cost as much as a short group.
template <int kRows, int kPanels, typename T>
HWY_INLINE void AddScaled(const PackedWeight& w, int64_t panel, int64_t group, const T* sums,
                          float* totals) {
  if constexpr (kRows == 1) {
    AddScaledInline<kRows, kPanels>(w, panel, group, sums, totals);
  } else {
    AddScaledCall<kRows, kPanels>(w, panel, group, sums, totals);
  }
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
