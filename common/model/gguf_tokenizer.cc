#include <algorithm>
#include <array>
#include <utility>

#include "common/base/status.h"
#include "common/model/gguf_model.h"
#include "common/model/json.h"

namespace baton {
namespace {

// Kinds of tokens, by their numbers in the file.
constexpr int64_t kControl = 3;
constexpr int64_t kUserDefined = 4;
constexpr int64_t kUnused = 5;
constexpr int64_t kNormal = 1;

// What the name of a pre-tokenizer stands for.
struct PreTokenizer {
  std::string_view name;
  std::string_view regex;  // as tokenizer.json spells it; empty: that of GPT-2
  bool ignore_merges;      // a word that is a token is not built from its parts
  bool adds_bos;           // unless the file says otherwise
  bool nfc;
};
constexpr std::string_view kLlama3 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::string_view kQwen2 =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|)"
    R"(\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr std::array<PreTokenizer, 5> kPreTokenizers = {{
    {"gpt-2", "", false, false, false},
    {"llama3", kLlama3, true, true, false},
    {"llama-v3", kLlama3, true, true, false},
    {"llama-bpe", kLlama3, true, true, false},
    {"qwen2", kQwen2, false, false, true},
}};

absl::StatusOr<const PreTokenizer*> FindPreTokenizer(const JsonFields& fields) {
  BATON_ASSIGN_OR_RETURN(const std::string model, fields.String("tokenizer.ggml.model"));
  if (std::string_view(model) != "gpt2") {
    return Unimplemented("{}tokenizer.ggml.model: '{}', expected gpt2 (byte-level BPE)",
                         fields.prefix(), model.substr(0, 64));
  }
  BATON_ASSIGN_OR_RETURN(const std::string name,
                         fields.String("tokenizer.ggml.pre", std::string("default")));
  const auto known = std::find_if(kPreTokenizers.begin(), kPreTokenizers.end(),
                                  [&](const PreTokenizer& pre) { return pre.name == name; });
  if (known == kPreTokenizers.end()) {
    return Unimplemented("{}tokenizer.ggml.pre: '{}', expected gpt-2, llama-bpe or qwen2",
                         fields.prefix(), name.substr(0, 64));
  }
  return &*known;
}

nlohmann::json Splitter(const PreTokenizer& pre) {
  nlohmann::json bytes = {
      {"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", pre.regex.empty()}};
  if (pre.regex.empty()) return bytes;
  const nlohmann::json split = {{"type", "Split"},
                                {"pattern", {{"Regex", pre.regex}}},
                                {"behavior", "Isolated"},
                                {"invert", false}};
  return {{"type", "Sequence"}, {"pretokenizers", {split, std::move(bytes)}}};
}

absl::Status AddTokens(const GgufContent& content, std::string_view what,
                       nlohmann::json& document) {
  const auto tokens = content.string_arrays.find("tokenizer.ggml.tokens");
  if (tokens == content.string_arrays.end()) {
    return InvalidArgument("{}: tokenizer.ggml.tokens: missing, expected an array of strings",
                           what);
  }
  const auto kinds = content.integer_arrays.find("tokenizer.ggml.token_type");
  const bool has_kinds = kinds != content.integer_arrays.end();
  if (has_kinds && kinds->second.size() != tokens->second.size()) {
    return InvalidArgument("{}: tokenizer.ggml.token_type: {} elements, expected {}", what,
                           kinds->second.size(), tokens->second.size());
  }
  nlohmann::json vocabulary = nlohmann::json::object();
  nlohmann::json added = nlohmann::json::array();
  for (size_t id = 0; id < tokens->second.size(); ++id) {
    const std::string text(tokens->second[id]);
    const int64_t kind = has_kinds ? kinds->second[id] : kNormal;
    if (kind == kUnused) continue;
    if (kind == kControl || kind == kUserDefined) {
      added.push_back({{"id", id},
                       {"content", text},
                       {"special", kind == kControl},
                       {"normalized", false},
                       {"single_word", false},
                       {"lstrip", false},
                       {"rstrip", false}});
      continue;
    }
    if (!vocabulary.emplace(text, id).second) {
      return InvalidArgument("{}: tokenizer.ggml.tokens: token {} is the same as token {}", what,
                             id, ShortJson(vocabulary[text]));
    }
  }
  document["model"]["vocab"] = std::move(vocabulary);
  document["added_tokens"] = std::move(added);
  return absl::OkStatus();
}

// The beginning-of-text token that is put before every text.
absl::Status AddPrefix(const GgufContent& content, const JsonFields& fields,
                       const PreTokenizer& pre, nlohmann::json& document) {
  BATON_ASSIGN_OR_RETURN(const bool adds,
                         fields.Bool("tokenizer.ggml.add_bos_token", pre.adds_bos));
  if (!adds) return absl::OkStatus();
  const auto& tokens = content.string_arrays.find("tokenizer.ggml.tokens")->second;
  BATON_ASSIGN_OR_RETURN(const int64_t bos,
                         fields.Int("tokenizer.ggml.bos_token_id", 0,
                                    std::max<int64_t>(0, static_cast<int64_t>(tokens.size()) - 1)));
  if (tokens.empty()) return absl::OkStatus();
  const std::string name(tokens[static_cast<size_t>(bos)]);
  document["post_processor"] = {
      {"type", "TemplateProcessing"},
      {"single",
       {{{"SpecialToken", {{"id", name}, {"type_id", 0}}}},
        {{"Sequence", {{"id", "A"}, {"type_id", 0}}}}}},
      {"special_tokens",
       {{name, {{"id", name}, {"ids", nlohmann::json::array({bos})}, {"tokens", {name}}}}}}};
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> GgufTokenizerJson(const GgufContent& content, std::string_view what) {
  const JsonFields fields(content.metadata, fmt::format("{}: ", what));
  BATON_ASSIGN_OR_RETURN(const PreTokenizer* pre, FindPreTokenizer(fields));
  nlohmann::json document = {{"model", {{"type", "BPE"}, {"ignore_merges", pre->ignore_merges}}},
                             {"normalizer", nullptr},
                             {"pre_tokenizer", Splitter(*pre)},
                             {"post_processor", nullptr},
                             {"decoder", {{"type", "ByteLevel"}}}};
  if (pre->nfc) document["normalizer"] = {{"type", "NFC"}};
  BATON_RETURN_IF_ERROR(AddTokens(content, what, document));
  nlohmann::json merges = nlohmann::json::array();
  if (const auto list = content.string_arrays.find("tokenizer.ggml.merges");
      list != content.string_arrays.end()) {
    for (const std::string_view merge : list->second) merges.push_back(std::string(merge));
  }
  document["model"]["merges"] = std::move(merges);
  BATON_RETURN_IF_ERROR(AddPrefix(content, fields, *pre, document));
  return document.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

}  // namespace baton
