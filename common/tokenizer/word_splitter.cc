#include "common/tokenizer/word_splitter.h"

#include <array>
#include <cstddef>

#include "common/tokenizer/unicode.h"
#include "common/tokenizer/utf8.h"

namespace baton {
namespace {

constexpr std::string_view kGpt2Regex =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
constexpr std::string_view kLlama3Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2Regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";

constexpr size_t kUnlimited = ~size_t{0};

bool IsNewline(char c) { return c == '\n' || c == '\r'; }
bool IsLetter(UnicodeClass c) { return c.letter(); }
bool IsNumber(UnicodeClass c) { return c.number(); }
bool IsSpace(UnicodeClass c) { return c.space(); }
bool IsOther(UnicodeClass c) { return !c.letter() && !c.number() && !c.space(); }

// One character: its class, its bytes (0 at the end of the text).
struct Character {
  UnicodeClass unicode;
  size_t length = 0;
};

Character At(std::string_view text, size_t at) {
  if (at >= text.size()) return {};
  const Utf8Step step = NextUtf8(text.substr(at));
  return {ClassOf(step.code_point), step.length};
}

// End of the run of at most `limit` characters of a class that starts at `at`.
template <typename Predicate>
size_t RunEnd(std::string_view text, size_t at, Predicate predicate, size_t limit = kUnlimited) {
  for (size_t count = 0; count < limit; ++count) {
    const Character c = At(text, at);
    if (c.length == 0 || !predicate(c.unicode)) break;
    at += c.length;
  }
  return at;
}

// Length of the contraction at the start of `text`, or 0.
size_t Contraction(std::string_view text, bool ignore_case) {
  if (text.size() < 2 || text[0] != '\'') return 0;
  // U+017F (long s) is the only character outside ASCII that folds to one of these letters.
  if (ignore_case && text.substr(1, 2) == "\xC5\xBF") return 3;
  const auto lower = [&](size_t i) {
    const char c = i < text.size() ? text[i] : '\0';
    return ignore_case && c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  };
  const char first = lower(1);
  if (first == 's' || first == 't' || first == 'm' || first == 'd') return 2;
  const char second = lower(2);
  if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') ||
      (first == 'l' && second == 'l')) {
    return 3;
  }
  return 0;
}

// `\s+(?!\S)|\s+`: a run of white space leaves its last character to the word that follows.
size_t Spaces(std::string_view text) {
  size_t end = 0;
  size_t before_last = 0;
  for (Character c = At(text, 0); c.length != 0 && c.unicode.space(); c = At(text, end)) {
    before_last = end;
    end += c.length;
  }
  return end < text.size() && before_last > 0 ? before_last : end;
}

// `\s*[\r\n]+`: up to the last line end of the run of white space, or 0.
size_t LineEnds(std::string_view text) {
  size_t end = RunEnd(text, 0, IsSpace);
  while (end > 0 && !IsNewline(text[end - 1])) --end;
  return end;
}

size_t MatchGpt2(std::string_view text) {
  if (const size_t n = Contraction(text, /*ignore_case=*/false)) return n;
  const size_t start = text[0] == ' ' ? 1 : 0;
  for (const auto predicate : {IsLetter, IsNumber, IsOther}) {
    if (const size_t end = RunEnd(text, start, predicate); end > start) return end;
  }
  return Spaces(text);
}

size_t MatchLlama3(std::string_view text, size_t digits) {
  if (const size_t n = Contraction(text, /*ignore_case=*/true)) return n;
  const Character first = At(text, 0);
  const bool joins_letters =
      !first.unicode.letter() && !first.unicode.number() && !IsNewline(text[0]);
  const size_t letters = joins_letters ? first.length : 0;
  if (const size_t end = RunEnd(text, letters, IsLetter); end > letters) return end;
  if (first.unicode.number()) return RunEnd(text, 0, IsNumber, digits);
  const size_t others = text[0] == ' ' ? 1 : 0;
  if (size_t end = RunEnd(text, others, IsOther); end > others) {
    while (end < text.size() && IsNewline(text[end])) ++end;
    return end;
  }
  if (const size_t end = LineEnds(text)) return end;
  return Spaces(text);
}

size_t Match(SplitPattern pattern, std::string_view text) {
  switch (pattern) {
    case SplitPattern::kGpt2:
      return MatchGpt2(text);
    case SplitPattern::kLlama3:
      return MatchLlama3(text, 3);
    case SplitPattern::kQwen2:
      return MatchLlama3(text, 1);
  }
  return text.size();
}

}  // namespace

std::string_view RegexOf(SplitPattern pattern) {
  switch (pattern) {
    case SplitPattern::kGpt2:
      return kGpt2Regex;
    case SplitPattern::kLlama3:
      return kLlama3Regex;
    case SplitPattern::kQwen2:
      return kQwen2Regex;
  }
  return {};
}

std::optional<SplitPattern> FindSplitPattern(std::string_view regex) {
  for (const auto pattern : {SplitPattern::kGpt2, SplitPattern::kLlama3, SplitPattern::kQwen2}) {
    if (regex == RegexOf(pattern)) return pattern;
  }
  return std::nullopt;
}

std::optional<std::string_view> WordSplitter::Next() {
  if (rest_.empty()) return std::nullopt;
  const std::string_view word = rest_.substr(0, Match(pattern_, rest_));
  rest_.remove_prefix(word.size());
  return word;
}

}  // namespace baton
