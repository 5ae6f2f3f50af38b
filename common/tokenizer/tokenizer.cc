#include "common/tokenizer/tokenizer.h"

#include <algorithm>
#include <fstream>
#include <iterator>
#include <system_error>
#include <utility>

#include "common/base/status.h"
#include "common/tokenizer/byte_level.h"
#include "common/tokenizer/nfc.h"
#include "common/tokenizer/sha256.h"
#include "common/tokenizer/tokenizer_json.h"
#include "common/tokenizer/utf8.h"
#include "common/tokenizer/word_splitter.h"

namespace baton {
namespace {

absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path, size_t limit) {
  std::error_code error;
  if (!std::filesystem::is_regular_file(path, error)) {
    return NotFound("{}: expected a file", path.string());
  }
  const auto size = std::filesystem::file_size(path, error);
  if (error) return NotFound("{}: {}", path.string(), error.message());
  if (size > limit) {
    return InvalidArgument("{}: {} bytes, expected at most {}", path.string(), size, limit);
  }
  std::ifstream file(path, std::ios::binary);
  if (!file) return NotFound("{}: cannot be opened", path.string());
  std::string text(size, '\0');
  file.read(text.data(), static_cast<std::streamsize>(size));
  if (!file) return Unavailable("{}: read {} of {} bytes", path.string(), file.gcount(), size);
  return text;
}

void Append(std::vector<int32_t>& ids, const std::vector<int32_t>& more) {
  ids.insert(ids.end(), more.begin(), more.end());
}

// The reference takes every token for a spelling of bytes where it can be one, added tokens too.
std::string Unspell(std::string_view text) {
  return UnspellBytes(text).value_or(std::string(text));
}

// The added tokens that are looked for in the normalized text, or the others.
std::vector<AddedToken> Select(const TokenizerSpec& spec, bool normalized) {
  std::vector<AddedToken> selected;
  for (const AddedToken& token : spec.added_tokens) {
    if (token.normalized != normalized) continue;
    selected.push_back(token);
    if (normalized && spec.nfc) selected.back().content = NormalizeNfc(token.content);
  }
  return selected;
}

}  // namespace

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Load(
    const std::filesystem::path& tokenizer_json, const TokenizerLimits& limits) {
  BATON_ASSIGN_OR_RETURN(const std::string text, ReadFile(tokenizer_json, limits.max_file_bytes));
  auto tokenizer = Parse(text, limits);
  if (!tokenizer.ok()) return Annotate(tokenizer.status(), tokenizer_json.string());
  return tokenizer;
}

absl::StatusOr<std::unique_ptr<Tokenizer>> Tokenizer::Parse(std::string_view json,
                                                            const TokenizerLimits& limits) {
  BATON_ASSIGN_OR_RETURN(TokenizerSpec spec, ParseTokenizerJson(json, limits));
  BATON_ASSIGN_OR_RETURN(BpeModel model, BpeModel::Create(spec));
  BATON_ASSIGN_OR_RETURN(std::vector<Token> tokens, MakeTokens(spec));
  for (const auto* ids : {&spec.prefix_ids, &spec.suffix_ids}) {
    for (const int32_t id : *ids) {
      if (static_cast<size_t>(id) >= tokens.size() || !tokens[id].exists) {
        return InvalidArgument("post_processor: id {}, expected the id of a token", id);
      }
    }
  }
  spec.vocabulary.clear();
  spec.merges.clear();
  return std::unique_ptr<Tokenizer>(
      new Tokenizer(std::move(spec), std::move(model), std::move(tokens), limits, Sha256Hex(json)));
}

Tokenizer::Tokenizer(TokenizerSpec spec, BpeModel model, std::vector<Token> tokens,
                     const TokenizerLimits& limits, std::string digest)
    : spec_(std::move(spec)),
      model_(std::move(model)),
      tokens_(std::move(tokens)),
      raw_added_(Select(spec_, /*normalized=*/false)),
      normalized_added_(Select(spec_, /*normalized=*/true)),
      limits_(limits),
      digest_(std::move(digest)) {
  for (size_t id = 0; id < tokens_.size(); ++id) {
    if (tokens_[id].exists) ids_.emplace(tokens_[id].text, static_cast<int32_t>(id));
  }
}

absl::StatusOr<std::vector<Tokenizer::Token>> Tokenizer::MakeTokens(const TokenizerSpec& spec) {
  int32_t highest = -1;
  for (const auto& [text, id] : spec.vocabulary) highest = std::max(highest, id);
  for (const AddedToken& token : spec.added_tokens) highest = std::max(highest, token.id);
  std::vector<Token> tokens(highest + 1);
  absl::flat_hash_map<absl::string_view, int32_t> known;
  known.reserve(tokens.size());
  const auto add = [&](std::string_view text, int32_t id) {
    tokens[id].exists = true;
    tokens[id].text = text;
    tokens[id].bytes = Unspell(text);
    known.emplace(ToAbsl(text), id);
  };
  for (const auto& [text, id] : spec.vocabulary) {
    if (tokens[id].exists) {
      return InvalidArgument("model.vocab: '{}' and '{}' both have id {}, expected different ids",
                             tokens[id].text, text, id);
    }
    add(text, id);
  }
  for (const AddedToken& token : spec.added_tokens) {
    const auto same = known.find(token.content);
    if (same != known.end() && same->second != token.id) {
      return InvalidArgument("added_tokens: '{}' has id {}, expected {} as given before",
                             token.content, token.id, same->second);
    }
    if (same == known.end() && tokens[token.id].exists) {
      return InvalidArgument("added_tokens: '{}' has id {} of '{}', expected an id of its own",
                             token.content, token.id, tokens[token.id].text);
    }
    if (same == known.end()) add(token.content, token.id);
    if (token.normalized && spec.nfc) tokens[token.id].bytes = Unspell(NormalizeNfc(token.content));
    tokens[token.id].special = tokens[token.id].special || token.special;
  }
  return tokens;
}

absl::StatusOr<std::vector<int32_t>> Tokenizer::Encode(std::string_view utf8,
                                                       EncodeOptions options) const {
  if (utf8.size() > limits_.max_input_bytes) {
    return InvalidArgument("text: {} bytes, expected at most {}", utf8.size(),
                           limits_.max_input_bytes);
  }
  if (const auto offset = FirstInvalidUtf8(utf8)) {
    return InvalidArgument("text: ill-formed at byte {}, expected UTF-8", *offset);
  }
  std::vector<int32_t> ids;
  if (options.add_special_tokens) Append(ids, spec_.prefix_ids);
  for (const auto& segment : raw_added_.Split(utf8)) {
    if (segment.id) {
      ids.push_back(*segment.id);
    } else {
      Append(ids, EncodeSegment(segment.text));
    }
  }
  if (options.add_special_tokens) Append(ids, spec_.suffix_ids);
  return ids;
}

std::vector<int32_t> Tokenizer::EncodeSegment(std::string_view text) const {
  std::string normalized;
  if (spec_.nfc) {
    normalized = NormalizeNfc(text);
    text = normalized;
  }
  std::vector<int32_t> ids;
  for (const auto& segment : normalized_added_.Split(text)) {
    if (segment.id) {
      ids.push_back(*segment.id);
    } else {
      Append(ids, EncodeWords(segment.text));
    }
  }
  return ids;
}

std::vector<int32_t> Tokenizer::EncodeWords(std::string_view text) const {
  std::string prefixed;
  if (spec_.add_prefix_space && !text.starts_with(' ')) {
    prefixed = " ";
    prefixed += text;
    text = prefixed;
  }
  std::vector<int32_t> ids;
  WordSplitter words(spec_.split, text);
  while (const auto word = words.Next()) Append(ids, model_.EncodeWord(*word));
  return ids;
}

absl::StatusOr<std::string> Tokenizer::Decode(std::span<const int32_t> ids,
                                              DetokenizeOptions options) const {
  std::string bytes;
  for (const int32_t id : ids) {
    BATON_RETURN_IF_ERROR(CheckToken(id));
    if (options.skip_special_tokens && tokens_[id].special) continue;
    bytes += tokens_[id].bytes;
  }
  LossyUtf8Decoder decoder;
  std::string text = decoder.Push(bytes);
  text += decoder.Flush();
  return text;
}

bool Tokenizer::is_token(int32_t id) const {
  return id >= 0 && id < vocab_size() && tokens_[id].exists;
}

bool Tokenizer::is_special(int32_t id) const { return is_token(id) && tokens_[id].special; }

absl::Status Tokenizer::CheckToken(int32_t id) const {
  if (is_token(id)) return absl::OkStatus();
  return InvalidArgument("token id: {}, expected a token of the vocabulary of {}", id,
                         vocab_size());
}

absl::StatusOr<std::string_view> Tokenizer::TokenText(int32_t id) const {
  BATON_RETURN_IF_ERROR(CheckToken(id));
  return std::string_view(tokens_[id].text);
}

absl::StatusOr<std::string_view> Tokenizer::TokenBytes(int32_t id) const {
  BATON_RETURN_IF_ERROR(CheckToken(id));
  return std::string_view(tokens_[id].bytes);
}

std::optional<int32_t> Tokenizer::TokenId(std::string_view text) const {
  const auto entry = ids_.find(ToAbsl(text));
  if (entry == ids_.end()) return std::nullopt;
  return entry->second;
}

}  // namespace baton
