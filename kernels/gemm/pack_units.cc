#include "kernels/gemm/pack_units.h"

#include <algorithm>
#include <cstring>
#include <iterator>

#include "kernels/numeric/formats.h"

namespace baton::kernels::internal {
namespace {

constexpr uint64_t kEach = 0x0101010101010101;  // times a byte: that byte eight times

// Eight codes plus 8 each, none carrying into the next.
uint64_t PlusEight(uint64_t codes) {
  constexpr uint64_t kTop = 0x80 * kEach;
  return ((codes & ~kTop) + 8 * kEach) ^ (codes & kTop);
}

// The low nibbles of eight bytes as one unit.
uint32_t Unit(uint64_t codes) { return static_cast<uint32_t>(codes | codes >> 28); }

// Returns the bits that some code in unsigned terms has.
template <bool kSigned>
uint64_t PackInt4(const int8_t* codes, int64_t units, uint8_t* to) {
  uint64_t any = 0;
  for (int64_t i = 0; i < units; ++i) {
    uint64_t eight;
    std::memcpy(&eight, codes + 8 * i, sizeof(eight));
    if constexpr (kSigned) eight = PlusEight(eight);
    any |= eight;
    const uint32_t unit = Unit(eight);
    std::memcpy(to + 4 * i, &unit, sizeof(unit));
  }
  return any;
}

}  // namespace

void Int8Units(const int8_t* codes, int64_t count, uint8_t* to) {
  for (int64_t i = 0; i < count; ++i) to[i] = static_cast<uint8_t>(codes[i] ^ 0x80);
  std::fill(to + count, to + (count + 3) / 4 * 4, uint8_t{0});
}

bool Int4Units(const int8_t* codes, int64_t count, bool is_signed, uint8_t* to) {
  const int64_t whole = count / 8;
  uint64_t any = is_signed ? PackInt4<true>(codes, whole, to) : PackInt4<false>(codes, whole, to);
  if (8 * whole < count) {
    int8_t last[8];
    std::fill(std::begin(last), std::end(last), static_cast<int8_t>(is_signed ? -8 : 0));
    std::copy(codes + 8 * whole, codes + count, last);
    any |= is_signed ? PackInt4<true>(last, 1, to + 4 * whole)
                     : PackInt4<false>(last, 1, to + 4 * whole);
  }
  return (any & 0xF0 * kEach) == 0;
}

bool E4m3Units(const int8_t* codes, int64_t count, uint8_t* to) {
  uint8_t any = 0;  // the top bit: a magnitude of 0x7F
  for (int64_t i = 0; i < count; ++i) {
    to[i] = static_cast<uint8_t>(codes[i]);
    any |= static_cast<uint8_t>((codes[i] & 0x7F) + (0x80 - kE4m3Nan));
  }
  return (any & 0x80) == 0;
}

}  // namespace baton::kernels::internal
