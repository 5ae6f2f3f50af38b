#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"

namespace baton {

// Text of the tokens of one output, as they come.
class TextDecoder {
 public:
  virtual ~TextDecoder() = default;
  // Whole characters that are certain after this token; INVALID_ARGUMENT for an id that is no
  // token.
  virtual absl::StatusOr<std::string> Push(int32_t token) = 0;
  // What was held back.
  virtual std::string Flush() = 0;
};

// The tokenizer as a router uses it. Immutable.
class TextCodec {
 public:
  virtual ~TextCodec() = default;
  virtual absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                                      bool add_special_tokens) const = 0;
  virtual std::unique_ptr<TextDecoder> NewDecoder(bool skip_special_tokens) const = 0;
};

}  // namespace baton
