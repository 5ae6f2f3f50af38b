#include "common/tokenizer/byte_level.h"

#include <array>

#include "common/tokenizer/utf8.h"

namespace baton {
namespace {

constexpr int kAlphabetEnd = 0x100 + 68;

constexpr bool StandsForItself(int byte) {
  return (byte >= 0x21 && byte <= 0x7E) || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
}

constexpr auto kSpelling = [] {
  std::array<char32_t, 256> spelling{};
  char32_t next = 0x100;
  for (int byte = 0; byte < 256; ++byte) {
    spelling[byte] = StandsForItself(byte) ? static_cast<char32_t>(byte) : next++;
  }
  return spelling;
}();

// Byte of each character of the alphabet, -1 elsewhere.
constexpr auto kByte = [] {
  std::array<int16_t, kAlphabetEnd> bytes{};
  for (auto& byte : bytes) byte = -1;
  for (int byte = 0; byte < 256; ++byte) bytes[kSpelling[byte]] = static_cast<int16_t>(byte);
  return bytes;
}();

}  // namespace

std::string SpellByte(uint8_t byte) { return EncodeUtf8(kSpelling[byte]); }

std::optional<std::string> UnspellBytes(std::string_view spelling) {
  std::string bytes;
  bytes.reserve(spelling.size());
  while (!spelling.empty()) {
    const Utf8Step step = NextUtf8(spelling);
    if (step.kind != Utf8Step::Kind::kCharacter || step.code_point >= kByte.size() ||
        kByte[step.code_point] < 0) {
      return std::nullopt;
    }
    bytes += static_cast<char>(kByte[step.code_point]);
    spelling.remove_prefix(step.length);
  }
  return bytes;
}

}  // namespace baton
