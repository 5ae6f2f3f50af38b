#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

#include "common/tokenizer/byte_trie.h"
#include "common/tokenizer/tokenizer_spec.h"

namespace baton {

// Finds added tokens in text: leftmost first, the longest of those that start there. Immutable and
// thread-safe.
class AddedTokenMatcher {
 public:
  // A stretch of the text: an added token's id, or text to be encoded otherwise.
  struct Segment {
    std::string_view text;
    std::optional<int32_t> id;
  };

  // `tokens` must have non-empty, well-formed contents.
  explicit AddedTokenMatcher(std::vector<AddedToken> tokens);

  // The text in order, without empty stretches; views into `text`, which is well-formed UTF-8.
  std::vector<Segment> Split(std::string_view text) const;

 private:
  struct Match {
    size_t length;  // bytes
    int32_t index;  // into tokens_
  };
  std::optional<Match> LongestAt(std::string_view text) const;

  std::vector<AddedToken> tokens_;
  ByteTrie trie_;                            // value: index into tokens_
  std::array<bool, 256> starts_token_ = {};  // by first byte
};

}  // namespace baton
