#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace baton {

// The text that the `baton eval` commands score, and how it is cut.
struct EvalTextOptions {
  // Exactly one of these two.
  std::optional<std::string> tokens;  // file of 16-bit token ids
  std::optional<std::string> text;    // file of UTF-8 text, encoded without special tokens
  int window = 1024;                  // tokens
  int max_windows = 0;                // 0 = all
};

// Owns the tokens that its windows borrow.
struct EvalText {
  std::vector<int32_t> tokens;
  std::vector<std::span<const int32_t>> windows;
};

// Text is encoded with the tokenizer of the `model` folder, whose vocabulary bounds the ids.
absl::StatusOr<EvalText> LoadEvalText(const EvalTextOptions& options, const std::string& model);

// Writes a whole file, refusing to leave a part of it unnoticed.
absl::Status WriteTextFile(const std::string& path, const std::string& content);

// INVALID_ARGUMENT unless `path` ends in ".svg"; names `flag`.
absl::Status CheckSvgName(const std::string& flag, const std::string& path);

// Draws windows done and time left on a terminal's standard error; does nothing elsewhere.
std::function<void(int done, int total)> WindowProgress();

}  // namespace baton
