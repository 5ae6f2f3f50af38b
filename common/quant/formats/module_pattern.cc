#include "common/quant/formats/module_pattern.h"

#include <re2/re2.h>

#include <algorithm>

#include "common/base/status.h"

namespace baton {
namespace {

constexpr std::string_view kExpressionPrefix = "re:";
constexpr size_t kMaxPatternBytes = 4096;
constexpr size_t kMaxPatterns = 100'000;
constexpr int64_t kMaxExpressionMemory = 1 << 20;

}  // namespace

absl::StatusOr<ModulePatterns> ModulePatterns::Parse(const std::vector<std::string>& patterns,
                                                     std::string_view field) {
  if (patterns.size() > kMaxPatterns) {
    return InvalidArgument("{}: {} entries, expected at most {}", field, patterns.size(),
                           kMaxPatterns);
  }
  ModulePatterns parsed;
  for (const std::string& pattern : patterns) {
    if (pattern.size() > kMaxPatternBytes) {
      return InvalidArgument("{}: an entry of {} bytes, expected at most {}", field, pattern.size(),
                             kMaxPatternBytes);
    }
    if (!pattern.starts_with(kExpressionPrefix)) {
      parsed.names_.push_back(pattern);
      continue;
    }
    re2::RE2::Options options(re2::RE2::Quiet);
    options.set_max_mem(kMaxExpressionMemory);
    auto expression =
        std::make_shared<const re2::RE2>(pattern.substr(kExpressionPrefix.size()), options);
    if (!expression->ok()) {
      return InvalidArgument("{}: '{}': {}", field, pattern.substr(0, 80), expression->error());
    }
    parsed.expressions_.push_back(std::move(expression));
  }
  std::sort(parsed.names_.begin(), parsed.names_.end());
  return parsed;
}

ModulePatterns::Match ModulePatterns::Matches(std::string_view module,
                                              std::string_view module_class) const {
  const auto named = [&](std::string_view name) {
    return std::binary_search(names_.begin(), names_.end(), name);
  };
  if (named(module)) return Match::kName;
  for (const auto& expression : expressions_) {
    if (expression->Match(re2::StringPiece(module.data(), module.size()), 0, module.size(),
                          re2::RE2::ANCHOR_START, nullptr, 0)) {
      return Match::kExpression;
    }
  }
  return named(module_class) ? Match::kClass : Match::kNone;
}

}  // namespace baton
