#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace baton {

// "1,2,3" or "@file" (ids separated by commas or white space); INVALID_ARGUMENT names what is
// wrong.
absl::StatusOr<std::vector<int32_t>> ParseTokenIds(const std::string& text);

// "42:-5,7:0.5": a value for each of some token ids; INVALID_ARGUMENT names what is wrong.
absl::StatusOr<std::map<int32_t, float>> ParseLogitBias(const std::string& text);

// Reads a whole file of at most `limit` bytes.
absl::StatusOr<std::string> ReadTextFile(const std::string& path, size_t limit = 64 << 20);

}  // namespace baton
