#pragma once

#include <array>
#include <cstdint>

namespace baton {

// Classes of code points as the reference tokenizer sees them; a bit set.
struct UnicodeClass {
  static constexpr uint8_t kLetter = 1;  // \p{L}
  static constexpr uint8_t kNumber = 2;  // \p{N}
  static constexpr uint8_t kSpace = 4;   // \s
  static constexpr uint8_t kWord = 8;    // \w, as it bounds whole-word added tokens

  static constexpr uint8_t kFrozen = 16;  // normalization form C leaves it and its place alone

  uint8_t bits = 0;
  bool letter() const { return (bits & kLetter) != 0; }
  bool number() const { return (bits & kNumber) != 0; }
  bool space() const { return (bits & kSpace) != 0; }
  bool word() const { return (bits & kWord) != 0; }
  bool frozen() const { return (bits & kFrozen) != 0; }
};

// Code points `first` to `last`, both included, share the class `bits`.
struct UnicodeRange {
  char32_t first;
  char32_t last;
  uint8_t bits;
};

// Sorted and disjoint; code points in no range have no class. Generated (unicode_tables.cc).
extern const std::array<UnicodeRange, 1218> kUnicodeRanges;

UnicodeClass ClassOf(char32_t code_point);

}  // namespace baton
