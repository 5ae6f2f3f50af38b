#include "kernels/gemm/interleave.h"

#include <algorithm>
#include <cstring>

#include "kernels/numeric/require.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/gemm/interleave.cc"
#include "hwy/foreach_target.h"
// After foreach_target.h, which includes this file once per target.
#include "hwy/highway.h"

HWY_BEFORE_NAMESPACE();
namespace baton::kernels {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

constexpr int64_t kPanel = PackedWeight::kPanel;
constexpr int64_t kLine = 64;  // bytes of each row that are taken at a time

// Units [i, count), one by one.
template <typename T>
HWY_INLINE void InterleaveUnits(const uint8_t* const* rows, int64_t i, int64_t count, uint8_t* to) {
  constexpr auto kUnit = static_cast<int64_t>(sizeof(T));
  for (; i < count; ++i) {
    for (int64_t lane = 0; lane < kPanel; ++lane) {
      std::memcpy(to + (i * kPanel + lane) * kUnit, rows[lane] + i * kUnit, sizeof(T));
    }
  }
}

#if HWY_TARGET == HWY_SCALAR

template <typename T>
void Interleave(const uint8_t* const* rows, int64_t count, uint8_t* to) {
  InterleaveUnits<T>(rows, 0, count, to);
}

#else

template <typename T>
using Square = hn::FixedTag<T, 16 / sizeof(T)>;

// Square matrices of as many rows as a vector of 16 bytes has units: each step interleaves the
// first half of the vectors with the second, which after log2 of them is the transposition.
template <typename T>
HWY_INLINE void TransposeSquare(const uint8_t* const* rows, int64_t offset, uint8_t* to) {
  constexpr int kSize = 16 / sizeof(T);
  const Square<T> d;
  hn::Vec<Square<T> > from[kSize];
  hn::Vec<Square<T> > next[kSize];
  for (int i = 0; i < kSize; ++i) {
    from[i] = hn::LoadU(d, reinterpret_cast<const T*>(rows[i] + offset));
  }
  for (int step = 1; step < kSize; step *= 2) {
    for (int i = 0; i < kSize / 2; ++i) {
      next[2 * i] = hn::InterleaveLower(d, from[i], from[i + kSize / 2]);
      next[2 * i + 1] = hn::InterleaveUpper(d, from[i], from[i + kSize / 2]);
    }
    for (int i = 0; i < kSize; ++i) from[i] = next[i];
  }
  for (int i = 0; i < kSize; ++i) {
    hn::StoreU(from[i], d, reinterpret_cast<T*>(to + i * kPanel * static_cast<int64_t>(sizeof(T))));
  }
}

template <typename T>
void Interleave(const uint8_t* const* rows, int64_t count, uint8_t* to) {
  constexpr auto kUnit = static_cast<int64_t>(sizeof(T));
  constexpr int64_t kSize = 16 / kUnit;
  const int64_t whole = count / kSize * kSize;
  // Rows are often a power of two apart, where a first-level cache holds few of their lines: those
  // of one square are used up before the next rows' are touched.
  for (int64_t first = 0; first < whole; first += kLine / kUnit) {
    const int64_t last = std::min(whole, first + kLine / kUnit);
    for (int64_t lane = 0; lane < kPanel; lane += kSize) {
      for (int64_t i = first; i < last; i += kSize) {
        TransposeSquare<T>(rows + lane, i * kUnit, to + (i * kPanel + lane) * kUnit);
      }
    }
  }
  InterleaveUnits<T>(rows, whole, count, to);
}

#endif

void Interleave8(const uint8_t* const* rows, int64_t count, uint8_t* to) {
  Interleave<uint8_t>(rows, count, to);
}
void Interleave16(const uint8_t* const* rows, int64_t count, uint8_t* to) {
  Interleave<uint16_t>(rows, count, to);
}
void Interleave32(const uint8_t* const* rows, int64_t count, uint8_t* to) {
  Interleave<uint32_t>(rows, count, to);
}

}  // namespace HWY_NAMESPACE
}  // namespace baton::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace baton::kernels {

HWY_EXPORT(Interleave8);
HWY_EXPORT(Interleave16);
HWY_EXPORT(Interleave32);

void internal::InterleaveRows(std::span<const uint8_t* const, PackedWeight::kPanel> rows,
                              int64_t count, size_t unit, uint8_t* to) {
  BATON_KERNELS_REQUIRE(unit == 1 || unit == 2 || unit == 4);
  if (unit == 1) return HWY_DYNAMIC_DISPATCH(Interleave8)(rows.data(), count, to);
  if (unit == 2) return HWY_DYNAMIC_DISPATCH(Interleave16)(rows.data(), count, to);
  HWY_DYNAMIC_DISPATCH(Interleave32)(rows.data(), count, to);
}

}  // namespace baton::kernels
#endif
