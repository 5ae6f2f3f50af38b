#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>

#include "common/tokenizer/byte_level.h"

namespace baton {

// A small valid tokenizer.json for tests to break: ids 0 to 255 are the bytes, then "he", "ll",
// "hell", "hello", and as an added token 260 "<end>". GPT-2's split, no template.
inline nlohmann::json SmallTokenizerJson() {
  nlohmann::json vocabulary;
  for (int byte = 0; byte < 256; ++byte) vocabulary[SpellByte(static_cast<uint8_t>(byte))] = byte;
  int id = 256;
  for (const char* word : {"he", "ll", "hell", "hello"}) vocabulary[word] = id++;
  return {
      {"version", "1.0"},
      {"truncation", nullptr},
      {"padding", nullptr},
      {"added_tokens",
       {{{"id", 260},
         {"content", "<end>"},
         {"single_word", false},
         {"lstrip", false},
         {"rstrip", false},
         {"normalized", false},
         {"special", true}}}},
      {"normalizer", nullptr},
      {"pre_tokenizer", {{"type", "ByteLevel"}, {"add_prefix_space", false}}},
      {"post_processor", nullptr},
      {"decoder", {{"type", "ByteLevel"}}},
      {"model",
       {{"type", "BPE"}, {"vocab", vocabulary}, {"merges", {"h e", "l l", "he ll", "hell o"}}}}};
}

}  // namespace baton
