#pragma once

#include <cstdint>
#include <filesystem>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/tokenizer/tokenizer.h"

namespace baton {

// Calibration tokens: sequences of one length.
struct CalibrationTokens {
  int64_t window = 0;
  std::vector<int32_t> tokens;  // [sequences, window]
  int64_t sequences() const { return static_cast<int64_t>(tokens.size()) / window; }
};

// Reads ".jsonl" (one object per line with a string "text"), or any other file as one text; a text
// is tokenized with its BOS, and all are joined and cut into windows. `sequences` of them are taken
// at equal distances over the file. INVALID_ARGUMENT names file and line of what is malformed;
// FAILED_PRECONDITION when the file has not enough tokens for eight sequences.
absl::StatusOr<CalibrationTokens> ReadCalibration(const std::filesystem::path& file,
                                                  const Tokenizer& tokenizer, int64_t window,
                                                  int64_t sequences);

}  // namespace baton
