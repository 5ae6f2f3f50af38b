#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/container/flat_hash_map.h"
#include "absl/status/statusor.h"
#include "common/tokenizer/added_tokens.h"
#include "common/tokenizer/bpe_model.h"
#include "common/tokenizer/tokenizer_spec.h"

namespace baton {

struct EncodeOptions {
  bool add_special_tokens = true;  // what the template puts around a text (BOS)
};

struct DetokenizeOptions {
  bool skip_special_tokens = false;
};

// A byte-level BPE tokenizer read from a Hugging Face tokenizer.json, with equal results.
// Immutable: every method is const and safe to call from several threads.
class Tokenizer {
 public:
  // NOT_FOUND when there is no such file; INVALID_ARGUMENT when it is malformed or contradicts
  // itself; UNIMPLEMENTED, by name, for another kind of tokenizer.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Load(
      const std::filesystem::path& tokenizer_json, const TokenizerLimits& limits = {});
  // The same from the file's contents.
  static absl::StatusOr<std::unique_ptr<Tokenizer>> Parse(std::string_view json,
                                                          const TokenizerLimits& limits = {});

  // INVALID_ARGUMENT when the text is too long, or not UTF-8 (the message has the byte's offset).
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view utf8,
                                              EncodeOptions options = {}) const;

  // Valid UTF-8; ill-formed bytes become U+FFFD. INVALID_ARGUMENT for an id that is no token.
  absl::StatusOr<std::string> Decode(std::span<const int32_t> ids,
                                     DetokenizeOptions options = {}) const;

  // Highest id + 1; not every id below need be a token.
  int32_t vocab_size() const { return static_cast<int32_t>(tokens_.size()); }
  bool is_token(int32_t id) const;
  // Whether `id` is an added token marked special; false for an id that is no token.
  bool is_special(int32_t id) const;
  // The spelling in tokenizer.json. INVALID_ARGUMENT for an id that is no token.
  absl::StatusOr<std::string_view> TokenText(int32_t id) const;
  // The bytes that the token adds to a text. INVALID_ARGUMENT for an id that is no token.
  absl::StatusOr<std::string_view> TokenBytes(int32_t id) const;
  // The id of a spelling as in tokenizer.json.
  std::optional<int32_t> TokenId(std::string_view text) const;

  // SHA-256 of the file, 64 hexadecimal digits: equal digests mean equal token ids.
  const std::string& digest() const { return digest_; }

 private:
  struct Token {
    bool exists = false;
    bool special = false;
    std::string text;   // as spelled in tokenizer.json
    std::string bytes;  // as decoded
  };

  Tokenizer(TokenizerSpec spec, BpeModel model, std::vector<Token> tokens,
            const TokenizerLimits& limits, std::string digest);

  static absl::StatusOr<std::vector<Token>> MakeTokens(const TokenizerSpec& spec);
  absl::Status CheckToken(int32_t id) const;
  std::vector<int32_t> EncodeSegment(std::string_view text) const;
  std::vector<int32_t> EncodeWords(std::string_view text) const;

  const TokenizerSpec spec_;  // without vocabulary and merges
  const BpeModel model_;
  const std::vector<Token> tokens_;                // by id
  const AddedTokenMatcher raw_added_;              // looked for in the text as given
  const AddedTokenMatcher normalized_added_;       // looked for in the normalized text
  absl::flat_hash_map<std::string, int32_t> ids_;  // by spelling
  const TokenizerLimits limits_;
  const std::string digest_;
};

}  // namespace baton
