#include "common/tokenizer/utf8.h"

#include <cstdint>
#include <utility>

namespace baton {
namespace {

constexpr std::string_view kReplacement = "\xEF\xBF\xBD";

// What a leading byte demands (Unicode, table 3-7).
struct Lead {
  size_t length;  // bytes of the sequence, 0 for a byte that starts none
  uint8_t low;    // bounds of the second byte
  uint8_t high;
};

constexpr Lead LeadOf(uint8_t byte) {
  if (byte < 0x80) return {1, 0, 0};
  if (byte < 0xC2) return {0, 0, 0};
  if (byte < 0xE0) return {2, 0x80, 0xBF};
  if (byte == 0xE0) return {3, 0xA0, 0xBF};
  if (byte == 0xED) return {3, 0x80, 0x9F};
  if (byte < 0xF0) return {3, 0x80, 0xBF};
  if (byte == 0xF0) return {4, 0x90, 0xBF};
  if (byte < 0xF4) return {4, 0x80, 0xBF};
  if (byte == 0xF4) return {4, 0x80, 0x8F};
  return {0, 0, 0};
}

}  // namespace

Utf8Step NextUtf8(std::string_view bytes) {
  const auto first = static_cast<uint8_t>(bytes[0]);
  Lead lead = LeadOf(first);
  if (lead.length == 1) return {Utf8Step::Kind::kCharacter, 1, first};
  if (lead.length == 0) return {Utf8Step::Kind::kInvalid, 1, 0xFFFD};
  char32_t code_point = first & (0x7Fu >> lead.length);
  for (size_t i = 1; i < lead.length; ++i) {
    if (i == bytes.size()) return {Utf8Step::Kind::kTruncated, i, 0xFFFD};
    const auto byte = static_cast<uint8_t>(bytes[i]);
    if (byte < lead.low || byte > lead.high) return {Utf8Step::Kind::kInvalid, i, 0xFFFD};
    lead.low = 0x80;
    lead.high = 0xBF;
    code_point = (code_point << 6) | (byte & 0x3Fu);
  }
  return {Utf8Step::Kind::kCharacter, lead.length, code_point};
}

std::optional<size_t> FirstInvalidUtf8(std::string_view bytes) {
  for (size_t at = 0; at < bytes.size();) {
    const Utf8Step step = NextUtf8(bytes.substr(at));
    if (step.kind != Utf8Step::Kind::kCharacter) return at;
    at += step.length;
  }
  return std::nullopt;
}

std::string EncodeUtf8(char32_t code_point) {
  const auto tail = [code_point](int shift) {
    return static_cast<char>(0x80 | ((code_point >> shift) & 0x3F));
  };
  if (code_point < 0x80) return {static_cast<char>(code_point)};
  if (code_point < 0x800) return {static_cast<char>(0xC0 | (code_point >> 6)), tail(0)};
  if (code_point < 0x10000) {
    return {static_cast<char>(0xE0 | (code_point >> 12)), tail(6), tail(0)};
  }
  return {static_cast<char>(0xF0 | (code_point >> 18)), tail(12), tail(6), tail(0)};
}

std::string LossyUtf8Decoder::Push(std::string_view bytes) {
  std::string joined;
  if (!pending_.empty()) {
    joined = std::exchange(pending_, {});
    joined += bytes;
    bytes = joined;
  }
  std::string text;
  text.reserve(bytes.size());
  while (!bytes.empty()) {
    const Utf8Step step = NextUtf8(bytes);
    if (step.kind == Utf8Step::Kind::kTruncated) {
      pending_ = bytes;
      break;
    }
    const bool valid = step.kind == Utf8Step::Kind::kCharacter;
    text += valid ? bytes.substr(0, step.length) : kReplacement;
    bytes.remove_prefix(step.length);
  }
  return text;
}

std::string LossyUtf8Decoder::Flush() {
  return std::exchange(pending_, {}).empty() ? std::string() : std::string(kReplacement);
}

}  // namespace baton
