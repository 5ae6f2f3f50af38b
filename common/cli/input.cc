#include "common/cli/input.h"

#include <algorithm>
#include <cctype>
#include <charconv>
#include <fstream>

#include "common/base/status.h"

namespace baton {

absl::StatusOr<std::string> ReadTextFile(const std::string& path, size_t limit) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return NotFound("{}: cannot be opened", path);
  std::string text;
  std::string block(1 << 16, '\0');
  while (file.read(block.data(), static_cast<std::streamsize>(block.size())), file.gcount() > 0) {
    text.append(block, 0, static_cast<size_t>(file.gcount()));
    if (text.size() > limit) return InvalidArgument("{}: more than {} bytes", path, limit);
  }
  return text;
}

absl::StatusOr<std::vector<int32_t>> ParseTokenIds(const std::string& text) {
  std::string list = text;
  if (!text.empty() && text[0] == '@') {
    BATON_ASSIGN_OR_RETURN(list, ReadTextFile(text.substr(1)));
  }
  std::vector<int32_t> ids;
  const char* at = list.data();
  const char* const end = at + list.size();
  while (at != end) {
    if (*at == ',' || std::isspace(static_cast<unsigned char>(*at))) {
      ++at;
      continue;
    }
    int32_t id = 0;
    const auto [next, error] = std::from_chars(at, end, id);
    if (error != std::errc() || id < 0) {
      return InvalidArgument("token ids: '{}', expected integers of at least 0",
                             std::string(at, std::min(end, at + 20)));
    }
    ids.push_back(id);
    at = next;
  }
  if (ids.empty()) return InvalidArgument("token ids: none given");
  return ids;
}

absl::StatusOr<std::map<int32_t, float>> ParseLogitBias(const std::string& text) {
  std::map<int32_t, float> biases;
  const char* at = text.data();
  const char* const end = at + text.size();
  while (at != end) {
    int32_t id = 0;
    float bias = 0;
    const std::string entry(at, std::min(end, at + 20));
    const auto [colon, bad_id] = std::from_chars(at, end, id);
    const bool has_value = bad_id == std::errc() && colon != end && *colon == ':';
    const auto [next, bad_bias] = std::from_chars(has_value ? colon + 1 : end, end, bias);
    if (!has_value || id < 0 || bad_bias != std::errc() || (next != end && *next != ',')) {
      return InvalidArgument("logit bias: '{}', expected ID:VALUE separated by commas", entry);
    }
    if (!biases.emplace(id, bias).second) {
      return InvalidArgument("logit bias: '{}', expected each id once", entry);
    }
    at = next == end ? end : next + 1;
  }
  return biases;
}

}  // namespace baton
