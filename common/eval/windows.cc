#include "common/eval/windows.h"

#include <algorithm>
#include <fstream>

#include "common/base/status.h"

namespace baton {

absl::StatusOr<std::vector<int32_t>> ReadTokenFile(const std::string& path) {
  constexpr std::streamoff kMaxBytes = std::streamoff{1} << 30;
  std::ifstream file(path, std::ios::binary | std::ios::ate);
  if (!file) return NotFound("{}: cannot be opened", path);
  const std::streamoff bytes = file.tellg();
  if (bytes <= 0 || bytes % 2 != 0 || bytes > kMaxBytes) {
    return InvalidArgument("{}: {} bytes, expected 16-bit token ids, at most {} bytes", path, bytes,
                           kMaxBytes);
  }
  std::string content(static_cast<size_t>(bytes), '\0');
  file.seekg(0);
  if (!file.read(content.data(), bytes)) return DataLoss("{}: cannot be read", path);
  std::vector<int32_t> tokens(content.size() / 2);
  for (size_t i = 0; i < tokens.size(); ++i) {
    const auto low = static_cast<uint8_t>(content[2 * i]);
    const auto high = static_cast<uint8_t>(content[2 * i + 1]);
    tokens[i] = low | high << 8;
  }
  return tokens;
}

absl::StatusOr<std::vector<std::span<const int32_t>>> CutWindows(std::span<const int32_t> tokens,
                                                                 int window, int max_windows,
                                                                 int vocab_size) {
  if (window < 4) return InvalidArgument("window: {}, expected at least 4 tokens", window);
  if (max_windows < 0) {
    return InvalidArgument("max_windows: {}, expected at least 0", max_windows);
  }
  const size_t length = static_cast<size_t>(window);
  size_t count = tokens.size() / length;
  if (max_windows > 0) count = std::min(count, static_cast<size_t>(max_windows));
  if (count == 0) {
    return InvalidArgument("tokens: {}, expected at least one window of {}", tokens.size(), window);
  }
  std::vector<std::span<const int32_t>> windows;
  for (size_t i = 0; i < count * length; ++i) {
    if (tokens[i] < 0 || tokens[i] >= vocab_size) {
      return InvalidArgument("tokens[{}]: {}, expected an id below {}, the vocabulary's size", i,
                             tokens[i], vocab_size);
    }
  }
  for (size_t i = 0; i < count; ++i) windows.push_back(tokens.subspan(i * length, length));
  return windows;
}

}  // namespace baton
