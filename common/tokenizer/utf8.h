#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace baton {

// What stands at the start of some bytes that should be UTF-8.
struct Utf8Step {
  enum class Kind {
    kCharacter,  // a well-formed character
    kInvalid,    // a maximal subpart of an ill-formed sequence (Unicode, section 3.9)
    kTruncated,  // the bytes end inside a sequence that is well-formed so far
  };
  Kind kind;
  size_t length;        // bytes; at least 1 for non-empty input
  char32_t code_point;  // U+FFFD unless kCharacter
};

// `bytes` must not be empty.
Utf8Step NextUtf8(std::string_view bytes);

// Byte offset of the first ill-formed or truncated sequence; nothing when all is well-formed.
std::optional<size_t> FirstInvalidUtf8(std::string_view bytes);

std::string EncodeUtf8(char32_t code_point);

// Turns a stream of bytes into valid UTF-8: complete characters at once, U+FFFD per maximal
// ill-formed subpart, and an incomplete tail held back until it is completed, refuted or flushed.
// The concatenated results do not depend on how the bytes were cut. Not thread-safe.
class LossyUtf8Decoder {
 public:
  std::string Push(std::string_view bytes);
  // The held-back tail as U+FFFD, or nothing; the decoder starts afresh.
  std::string Flush();
  // Bytes held back, 0 to 3.
  size_t pending() const { return pending_.size(); }

 private:
  std::string pending_;
};

}  // namespace baton
