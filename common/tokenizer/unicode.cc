#include "common/tokenizer/unicode.h"

#include <algorithm>

namespace baton {
namespace {

constexpr uint8_t AsciiClass(int c) {
  if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z')) {
    return UnicodeClass::kLetter | UnicodeClass::kWord;
  }
  if (c >= '0' && c <= '9') return UnicodeClass::kNumber | UnicodeClass::kWord;
  if (c == ' ' || (c >= '\t' && c <= '\r')) return UnicodeClass::kSpace;
  return c == '_' ? UnicodeClass::kWord : 0;
}

constexpr auto kAscii = [] {
  std::array<uint8_t, 128> classes{};
  for (int c = 0; c < 128; ++c) classes[c] = AsciiClass(c);
  return classes;
}();

}  // namespace

UnicodeClass ClassOf(char32_t code_point) {
  if (code_point < kAscii.size()) return {kAscii[code_point]};
  const auto after = std::upper_bound(
      kUnicodeRanges.begin(), kUnicodeRanges.end(), code_point,
      [](char32_t value, const UnicodeRange& range) { return value < range.first; });
  if (after == kUnicodeRanges.begin()) return {};
  const UnicodeRange& range = *std::prev(after);
  return {code_point <= range.last ? range.bits : uint8_t{0}};
}

}  // namespace baton
