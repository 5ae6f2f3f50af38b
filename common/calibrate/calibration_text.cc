#include "common/calibrate/calibration_text.h"

#include <algorithm>
#include <string>

#include "common/base/status.h"
#include "common/model/json.h"
#include "common/model/mapped_file.h"

namespace baton {
namespace {

constexpr size_t kMaxFileBytes = size_t{1} << 30;
constexpr size_t kMaxLineBytes = size_t{16} << 20;
constexpr int64_t kLeastSequences = 8;

absl::StatusOr<std::vector<std::string>> ReadTexts(const std::filesystem::path& file) {
  BATON_ASSIGN_OR_RETURN(std::string content, ReadTextFile(file, kMaxFileBytes));
  if (file.extension() != ".jsonl") return std::vector<std::string>{std::move(content)};
  std::vector<std::string> texts;
  const std::string_view all = content;
  size_t number = 0;
  for (size_t begin = 0; begin < all.size();) {
    const size_t end = std::min(all.find('\n', begin), all.size());
    const std::string_view line = all.substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    const std::string where = fmt::format("{}:{}", file.string(), number);
    BATON_ASSIGN_OR_RETURN(const nlohmann::json object,
                           ParseJsonObject(line, where, {kMaxLineBytes, 8}));
    BATON_ASSIGN_OR_RETURN(std::string text, JsonFields(object, where + ": ").String("text"));
    texts.push_back(std::move(text));
  }
  return texts;
}

}  // namespace

absl::StatusOr<CalibrationTokens> ReadCalibration(const std::filesystem::path& file,
                                                  const Tokenizer& tokenizer, int64_t window,
                                                  int64_t sequences) {
  if (window < 16) return InvalidArgument("window: {}, expected 16 or more tokens", window);
  if (sequences < kLeastSequences) {
    return InvalidArgument("sequences: {}, expected {} or more", sequences, kLeastSequences);
  }
  BATON_ASSIGN_OR_RETURN(const std::vector<std::string> texts, ReadTexts(file));
  std::vector<int32_t> all;
  for (const std::string& text : texts) {
    absl::StatusOr<std::vector<int32_t>> ids = tokenizer.Encode(text);
    if (!ids.ok()) return Annotate(ids.status(), file.string());
    all.insert(all.end(), ids->begin(), ids->end());
  }
  const int64_t there = static_cast<int64_t>(all.size()) / window;
  if (there < kLeastSequences) {
    return FailedPrecondition("{}: {} tokens, expected at least {} ({} sequences of {})",
                              file.string(), all.size(), kLeastSequences * window, kLeastSequences,
                              window);
  }
  CalibrationTokens out{.window = window, .tokens = {}};
  const int64_t taken = std::min(there, sequences);
  for (int64_t i = 0; i < taken; ++i) {
    const auto first = all.begin() + i * there / taken * window;
    out.tokens.insert(out.tokens.end(), first, first + window);
  }
  return out;
}

}  // namespace baton
