#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace baton {

// The byte-level alphabet: printable Latin-1 bytes stand for themselves, the other 68 for U+0100
// onwards, so that any byte string has a printable spelling in tokenizer.json.

// The spelling of one byte, UTF-8.
std::string SpellByte(uint8_t byte);

// The bytes that a spelling stands for; nothing when a character is outside the alphabet.
std::optional<std::string> UnspellBytes(std::string_view spelling);

}  // namespace baton
