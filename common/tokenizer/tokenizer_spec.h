#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "common/tokenizer/word_splitter.h"

namespace baton {

// Bounds on what is read from outside.
struct TokenizerLimits {
  size_t max_file_bytes = size_t{64} << 20;
  size_t max_input_bytes = size_t{16} << 20;  // of one text
  int32_t max_token_id = (1 << 21) - 1;
  size_t max_added_token_bytes = 1024;
};

// A string that is looked for in the text before it is cut into words.
struct AddedToken {
  std::string content;  // UTF-8
  int32_t id = 0;
  bool single_word = false;  // only between characters that are not part of a word
  bool lstrip = false;       // takes the white space before it
  bool rstrip = false;       // takes the white space after it
  bool normalized = false;   // looked for in the normalized text
  bool special = false;      // left out of text on request
};

// What a tokenizer.json says, checked for form but not for consistency.
struct TokenizerSpec {
  std::vector<std::pair<std::string, int32_t>> vocabulary;  // spelling, id
  std::vector<std::pair<std::string, std::string>> merges;  // spellings, by falling priority
  bool ignore_merges = false;  // a word that is a token is not built from its parts
  bool nfc = false;            // normalize to form C first
  bool add_prefix_space = false;
  SplitPattern split = SplitPattern::kGpt2;
  std::vector<AddedToken> added_tokens;
  std::vector<int32_t> prefix_ids;  // put before every text (BOS)
  std::vector<int32_t> suffix_ids;  // put after every text
};

}  // namespace baton
