#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"

namespace baton {

// `baton tokenize`: text to token ids and back with a model's tokenizer.json.
struct TokenizeOptions {
  std::string model;  // folder with tokenizer.json
  // Exactly one of these three.
  std::optional<std::string> text;
  std::optional<std::string> file;
  std::optional<std::string> decode;  // "1,2,3" or "@file"
  bool add_special_tokens = true;
  bool json = false;
};

absl::Status RunTokenize(const TokenizeOptions& options);

}  // namespace baton
