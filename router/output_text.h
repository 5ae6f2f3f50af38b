#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "common/tokenizer/stop_strings.h"
#include "router/text_codec.h"
#include "router/validation.h"

namespace baton {

// Text of one merged output: detokenizes in order, whichever worker a token came from, and holds
// back what may still become a stop string. Not thread-safe.
class OutputText {
 public:
  // `codec` null: tokens pass, text stays empty.
  static absl::StatusOr<OutputText> Create(const RequestSpec& spec, const TextCodec* codec);

  struct Piece {
    std::string text;                         // certain not to be part of a stop string
    std::optional<std::string> matched_stop;  // this token completed it; the output ends
  };
  // INVALID_ARGUMENT for an id that is no token.
  absl::StatusOr<Piece> Push(int32_t token);
  // The output ended without a stop string: what was held back.
  std::string Finish();

 private:
  OutputText(std::vector<std::string> stops, std::unique_ptr<TextDecoder> decoder,
             std::optional<StopStringMatcher> matcher)
      : stops_(std::move(stops)), decoder_(std::move(decoder)), matcher_(std::move(matcher)) {}

  std::vector<std::string> stops_;
  std::unique_ptr<TextDecoder> decoder_;      // null without a tokenizer
  std::optional<StopStringMatcher> matcher_;  // only where there are stop strings
  size_t tokens_ = 0;
};

}  // namespace baton
