#pragma once

#include <optional>
#include <string_view>

namespace baton {

// The regular expressions that cut text into words before byte-pair encoding.
enum class SplitPattern { kGpt2, kLlama3, kQwen2 };

// The expression as tokenizer.json spells it.
std::string_view RegexOf(SplitPattern pattern);
// The pattern spelled exactly like `regex`; nothing for any other expression.
std::optional<SplitPattern> FindSplitPattern(std::string_view regex);

// Cuts well-formed UTF-8 into the successive matches of a pattern; together they are the text.
// Written by hand instead of run by a regex engine: linear time, no backtracking, no limits to
// tune. Views point into the text, which must outlive them. Not thread-safe.
class WordSplitter {
 public:
  WordSplitter(SplitPattern pattern, std::string_view text) : pattern_(pattern), rest_(text) {}

  // The next word; nothing at the end of the text.
  std::optional<std::string_view> Next();

 private:
  SplitPattern pattern_;
  std::string_view rest_;
};

}  // namespace baton
