#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"

namespace baton {

// Token ids of a file of little-endian 16-bit integers. NOT_FOUND when it cannot be opened,
// INVALID_ARGUMENT when its size is odd, zero or above 1 GiB.
absl::StatusOr<std::vector<int32_t>> ReadTokenFile(const std::string& path);

// `tokens` cut into consecutive windows of `window` tokens, at most `max_windows` of them (0 =
// all); the rest of the text, shorter than a window, is left out. INVALID_ARGUMENT when there is
// not one window, or a token lies outside [0, vocab_size). The spans borrow `tokens`.
absl::StatusOr<std::vector<std::span<const int32_t>>> CutWindows(std::span<const int32_t> tokens,
                                                                 int window, int max_windows,
                                                                 int vocab_size);

}  // namespace baton
