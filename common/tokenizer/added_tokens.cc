#include "common/tokenizer/added_tokens.h"

#include <algorithm>
#include <utility>

#include "common/tokenizer/unicode.h"
#include "common/tokenizer/utf8.h"

namespace baton {
namespace {

UnicodeClass FirstClass(std::string_view text) {
  return text.empty() ? UnicodeClass{} : ClassOf(NextUtf8(text).code_point);
}

// Where the last character of non-empty `text` starts.
size_t LastCharacter(std::string_view text) {
  size_t at = text.size() - 1;
  while (at > 0 && (static_cast<uint8_t>(text[at]) & 0xC0) == 0x80) --at;
  return at;
}

UnicodeClass LastClass(std::string_view text) {
  return text.empty() ? UnicodeClass{} : FirstClass(text.substr(LastCharacter(text)));
}

// `text` without the white space at its end.
size_t TrimmedEnd(std::string_view text, size_t floor) {
  while (text.size() > floor && LastClass(text).space()) text = text.substr(0, LastCharacter(text));
  return std::max(text.size(), floor);
}

// Bytes of white space at the start of `text`.
size_t LeadingSpace(std::string_view text) {
  size_t at = 0;
  while (at < text.size() && FirstClass(text.substr(at)).space()) {
    at += NextUtf8(text.substr(at)).length;
  }
  return at;
}

}  // namespace

AddedTokenMatcher::AddedTokenMatcher(std::vector<AddedToken> tokens) : tokens_(std::move(tokens)) {
  for (size_t i = 0; i < tokens_.size(); ++i) {
    trie_.Insert(tokens_[i].content, static_cast<int32_t>(i));
    starts_token_[static_cast<uint8_t>(tokens_[i].content[0])] = true;
  }
}

std::optional<AddedTokenMatcher::Match> AddedTokenMatcher::LongestAt(std::string_view text) const {
  std::optional<Match> longest;
  ByteTrie::Node node = ByteTrie::kRoot;
  for (size_t i = 0; i < text.size(); ++i) {
    const auto child = trie_.Child(node, static_cast<uint8_t>(text[i]));
    if (!child) break;
    node = *child;
    if (const auto index = trie_.ValueAt(node)) longest = Match{i + 1, *index};
  }
  return longest;
}

std::vector<AddedTokenMatcher::Segment> AddedTokenMatcher::Split(std::string_view text) const {
  std::vector<Segment> segments;
  size_t done = 0;  // everything before is in `segments`
  for (size_t at = 0; at < text.size();) {
    const bool possible = starts_token_[static_cast<uint8_t>(text[at])];
    const auto match = possible ? LongestAt(text.substr(at)) : std::nullopt;
    if (!match) {
      ++at;
      continue;
    }
    const AddedToken& token = tokens_[match->index];
    size_t start = at;
    size_t end = at + match->length;
    // The search goes on behind what was written, not behind the white space taken with it.
    at = end;
    if (token.single_word &&
        (LastClass(text.substr(0, start)).word() || FirstClass(text.substr(end)).word())) {
      continue;
    }
    if (token.lstrip) start = TrimmedEnd(text.substr(0, start), std::min(done, start));
    if (token.rstrip) end += LeadingSpace(text.substr(end));
    if (done < start) segments.push_back({text.substr(done, start - done), std::nullopt});
    segments.push_back({text.substr(start, end - start), token.id});
    done = end;
  }
  if (done < text.size()) segments.push_back({text.substr(done), std::nullopt});
  return segments;
}

}  // namespace baton
