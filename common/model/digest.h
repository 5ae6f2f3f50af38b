#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace baton {

// 128 bits that tell one content from another by accident, not by malice: not a cryptographic hash.
struct Digest {
  uint64_t high = 0;
  uint64_t low = 0;
  friend auto operator<=>(const Digest&, const Digest&) = default;
  // 32 hexadecimal digits.
  std::string ToString() const;
  // Of ToString's form; nothing for any other text.
  static std::optional<Digest> Parse(std::string_view text);
};

// Digest of a byte string; several GB/s on one core. The same on every machine.
Digest DigestOf(std::span<const std::byte> bytes);

// Digest of a sequence of fields, each with its length, so that ("ab","c") and ("a","bc") differ.
class DigestBuilder {
 public:
  DigestBuilder& Add(std::string_view field);
  DigestBuilder& Add(std::span<const std::byte> field);
  DigestBuilder& Add(const Digest& digest);
  DigestBuilder& Add(uint64_t value);
  Digest Finish() const;

 private:
  std::string fields_;  // digests and lengths of the fields: small whatever the content
};

}  // namespace baton
