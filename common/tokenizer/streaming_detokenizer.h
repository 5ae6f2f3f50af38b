#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "common/tokenizer/tokenizer.h"
#include "common/tokenizer/utf8.h"

namespace baton {

// Turns tokens into text as they come. Every delta is valid UTF-8: bytes of an unfinished character
// wait for the next token. All deltas and the flush together are Tokenizer::Decode of all ids.
// The tokenizer must outlive it. Not thread-safe.
class StreamingDetokenizer {
 public:
  explicit StreamingDetokenizer(const Tokenizer& tokenizer, DetokenizeOptions options = {})
      : tokenizer_(tokenizer), options_(options) {}

  // The text that `id` completes, possibly empty. INVALID_ARGUMENT for an id that is no token.
  absl::StatusOr<std::string> Push(int32_t id);
  // At the end: an unfinished character as U+FFFD, or nothing.
  std::string Flush() { return decoder_.Flush(); }

 private:
  const Tokenizer& tokenizer_;
  const DetokenizeOptions options_;
  LossyUtf8Decoder decoder_;
};

}  // namespace baton
