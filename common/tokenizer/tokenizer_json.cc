#include "common/tokenizer/tokenizer_json.h"

#include <optional>
#include <string>
#include <utility>

#include "common/base/status.h"
#include "common/tokenizer/json_fields.h"

namespace baton {
namespace {

constexpr int kMaxDepth = 32;

absl::Status NotBuilt(const JsonField& field, std::string_view what, std::string_view built) {
  return Unimplemented("{}: '{}' is not built, expected {}", field.path(), what, built);
}

// A member that, other than null, `false`, 0 or "", would change what the tokenizer does.
absl::Status RefuseIfSet(const JsonField& field) {
  const nlohmann::json& value = field.value();
  const auto* text = value.get_ptr<const std::string*>();
  const bool unset = value.is_null() || value == false || (text != nullptr && text->empty()) ||
                     (value.is_number() && value == 0);
  return unset ? absl::OkStatus() : NotBuilt(field, "a value", "null");
}

// Calls `each` for the parts of a `Sequence`, or for the field itself, or not at all for null.
template <typename Function>
absl::Status ForEachPart(const JsonField& field, std::string_view parts_key, Function each) {
  if (field.is_null()) return absl::OkStatus();
  BATON_RETURN_IF_ERROR(field.ExpectObject());
  BATON_ASSIGN_OR_RETURN(const std::string type, field.At("type").String());
  if (type != "Sequence") return each(field, type);
  const JsonField parts = field.At(parts_key);
  BATON_RETURN_IF_ERROR(parts.ExpectArray());
  for (size_t i = 0; i < parts.value().size(); ++i) {
    BATON_RETURN_IF_ERROR(parts.At(i).ExpectObject());
    BATON_ASSIGN_OR_RETURN(const std::string part_type, parts.At(i).At("type").String());
    BATON_RETURN_IF_ERROR(each(parts.At(i), part_type));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::pair<std::string, std::string>> ParseMerge(const JsonField& merge) {
  if (merge.value().is_string()) {
    const auto text = merge.value().get<std::string>();
    const size_t space = text.find(' ');
    if (space == 0 || space == std::string::npos || space + 1 == text.size() ||
        text.find(' ', space + 1) != std::string::npos) {
      return InvalidArgument("{}: '{}', expected two tokens with one space between", merge.path(),
                             text);
    }
    return std::pair(text.substr(0, space), text.substr(space + 1));
  }
  if (!merge.value().is_array() || merge.value().size() != 2) {
    return InvalidArgument("{}: expected a string or a pair of strings", merge.path());
  }
  BATON_ASSIGN_OR_RETURN(std::string left, merge.At(size_t{0}).String());
  BATON_ASSIGN_OR_RETURN(std::string right, merge.At(size_t{1}).String());
  return std::pair(std::move(left), std::move(right));
}

absl::Status ParseModel(const JsonField& model, const TokenizerLimits& limits,
                        TokenizerSpec& spec) {
  BATON_RETURN_IF_ERROR(model.ExpectObject());
  // Old files leave the type out; only BPE has merges.
  if (!model.At("type").is_null()) {
    BATON_ASSIGN_OR_RETURN(const std::string type, model.At("type").String());
    if (type != "BPE") return NotBuilt(model.At("type"), type, "BPE");
  }
  for (const char* key :
       {"dropout", "continuing_subword_prefix", "end_of_word_suffix", "byte_fallback"}) {
    BATON_RETURN_IF_ERROR(RefuseIfSet(model.At(key)));
  }
  BATON_ASSIGN_OR_RETURN(spec.ignore_merges, model.At("ignore_merges").BoolOr(false));

  const JsonField vocabulary = model.At("vocab");
  BATON_RETURN_IF_ERROR(vocabulary.ExpectObject());
  spec.vocabulary.reserve(vocabulary.value().size());
  for (const auto& [text, id] : vocabulary.value().items()) {
    BATON_ASSIGN_OR_RETURN(
        const int32_t checked,
        JsonField(id, vocabulary.path() + "['" + text + "']").IntegerUpTo(limits.max_token_id));
    spec.vocabulary.emplace_back(text, checked);
  }

  const JsonField merges = model.At("merges");
  BATON_RETURN_IF_ERROR(merges.ExpectArray());
  spec.merges.reserve(merges.value().size());
  for (size_t i = 0; i < merges.value().size(); ++i) {
    BATON_ASSIGN_OR_RETURN(auto merge, ParseMerge(merges.At(i)));
    spec.merges.push_back(std::move(merge));
  }
  return absl::OkStatus();
}

absl::Status ParseNormalizer(const JsonField& normalizer, TokenizerSpec& spec) {
  return ForEachPart(normalizer, "normalizers",
                     [&](const JsonField& part, const std::string& type) -> absl::Status {
                       if (type != "NFC") return NotBuilt(part, type, "NFC");
                       spec.nfc = true;
                       return absl::OkStatus();
                     });
}

absl::StatusOr<SplitPattern> ParseSplit(const JsonField& split) {
  const JsonField regex = split.At("pattern").At("Regex");
  BATON_ASSIGN_OR_RETURN(const std::string text, regex.String());
  const auto pattern = FindSplitPattern(text);
  if (!pattern) return NotBuilt(regex, text, "the pattern of GPT-2, Llama 3 or Qwen2");
  BATON_ASSIGN_OR_RETURN(const std::string behavior, split.At("behavior").String());
  if (behavior != "Isolated") return NotBuilt(split.At("behavior"), behavior, "Isolated");
  BATON_RETURN_IF_ERROR(RefuseIfSet(split.At("invert")));
  return *pattern;
}

absl::Status ParsePreTokenizer(const JsonField& pre_tokenizer, TokenizerSpec& spec) {
  std::optional<SplitPattern> split;
  bool byte_level = false;
  BATON_RETURN_IF_ERROR(ForEachPart(
      pre_tokenizer, "pretokenizers",
      [&](const JsonField& part, const std::string& type) -> absl::Status {
        if (byte_level) return NotBuilt(part, type, "nothing after ByteLevel");
        if (type == "Split") {
          if (split) return NotBuilt(part, type, "one Split");
          BATON_ASSIGN_OR_RETURN(split, ParseSplit(part));
          return absl::OkStatus();
        }
        if (type != "ByteLevel") return NotBuilt(part, type, "Split or ByteLevel");
        byte_level = true;
        BATON_ASSIGN_OR_RETURN(spec.add_prefix_space, part.At("add_prefix_space").BoolOr(true));
        BATON_ASSIGN_OR_RETURN(const bool use_regex, part.At("use_regex").BoolOr(true));
        if (use_regex && split) return NotBuilt(part.At("use_regex"), "true", "false after Split");
        if (use_regex) split = SplitPattern::kGpt2;
        if (spec.add_prefix_space && !use_regex) {
          return NotBuilt(part.At("add_prefix_space"), "true", "false after Split");
        }
        return absl::OkStatus();
      }));
  if (!split || !byte_level) {
    return NotBuilt(pre_tokenizer, pre_tokenizer.is_null() ? "null" : "no split into words",
                    "ByteLevel with use_regex, or Split and ByteLevel");
  }
  spec.split = *split;
  return absl::OkStatus();
}

absl::Status ParseTemplate(const JsonField& processor, const TokenizerLimits& limits,
                           TokenizerSpec& spec) {
  if (!spec.prefix_ids.empty() || !spec.suffix_ids.empty()) {
    return NotBuilt(processor, "a second TemplateProcessing", "one");
  }
  const JsonField single = processor.At("single");
  BATON_RETURN_IF_ERROR(single.ExpectArray());
  bool sequence_seen = false;
  for (size_t i = 0; i < single.value().size(); ++i) {
    const JsonField piece = single.At(i);
    if (!piece.At("Sequence").is_null()) {
      if (sequence_seen || piece.At("Sequence").At("id").value() != "A") {
        return NotBuilt(piece, "Sequence", "the sequence A once");
      }
      sequence_seen = true;
      continue;
    }
    BATON_ASSIGN_OR_RETURN(const std::string name, piece.At("SpecialToken").At("id").String());
    const JsonField ids = processor.At("special_tokens").At(name).At("ids");
    BATON_RETURN_IF_ERROR(ids.ExpectArray());
    for (size_t k = 0; k < ids.value().size(); ++k) {
      BATON_ASSIGN_OR_RETURN(const int32_t id, ids.At(k).IntegerUpTo(limits.max_token_id));
      (sequence_seen ? spec.suffix_ids : spec.prefix_ids).push_back(id);
    }
  }
  if (!sequence_seen) return InvalidArgument("{}: no Sequence, expected one", single.path());
  return absl::OkStatus();
}

absl::Status ParsePostProcessor(const JsonField& processor, const TokenizerLimits& limits,
                                TokenizerSpec& spec) {
  return ForEachPart(processor, "processors",
                     [&](const JsonField& part, const std::string& type) -> absl::Status {
                       if (type == "TemplateProcessing") return ParseTemplate(part, limits, spec);
                       // It moves offsets, not ids.
                       if (type == "ByteLevel") return absl::OkStatus();
                       return NotBuilt(part, type, "TemplateProcessing or ByteLevel");
                     });
}

absl::Status ParseDecoder(const JsonField& decoder) {
  if (decoder.is_null()) return NotBuilt(decoder, "null", "ByteLevel");
  return ForEachPart(decoder, "decoders",
                     [](const JsonField& part, const std::string& type) -> absl::Status {
                       if (type != "ByteLevel") return NotBuilt(part, type, "ByteLevel");
                       return absl::OkStatus();
                     });
}

absl::StatusOr<AddedToken> ParseAddedToken(const JsonField& field, const TokenizerLimits& limits) {
  BATON_RETURN_IF_ERROR(field.ExpectObject());
  AddedToken token;
  BATON_ASSIGN_OR_RETURN(token.content, field.At("content").String());
  if (token.content.empty() || token.content.size() > limits.max_added_token_bytes) {
    return InvalidArgument("{}.content: {} bytes, expected 1 to {}", field.path(),
                           token.content.size(), limits.max_added_token_bytes);
  }
  BATON_ASSIGN_OR_RETURN(token.id, field.At("id").IntegerUpTo(limits.max_token_id));
  BATON_ASSIGN_OR_RETURN(token.special, field.At("special").BoolOr(false));
  BATON_ASSIGN_OR_RETURN(token.single_word, field.At("single_word").BoolOr(false));
  BATON_ASSIGN_OR_RETURN(token.lstrip, field.At("lstrip").BoolOr(false));
  BATON_ASSIGN_OR_RETURN(token.rstrip, field.At("rstrip").BoolOr(false));
  BATON_ASSIGN_OR_RETURN(token.normalized, field.At("normalized").BoolOr(!token.special));
  return token;
}

absl::Status ParseAddedTokens(const JsonField& tokens, const TokenizerLimits& limits,
                              TokenizerSpec& spec) {
  if (tokens.is_null()) return absl::OkStatus();
  BATON_RETURN_IF_ERROR(tokens.ExpectArray());
  for (size_t i = 0; i < tokens.value().size(); ++i) {
    BATON_ASSIGN_OR_RETURN(AddedToken token, ParseAddedToken(tokens.At(i), limits));
    spec.added_tokens.push_back(std::move(token));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<TokenizerSpec> ParseTokenizerJson(std::string_view json,
                                                 const TokenizerLimits& limits) {
  if (json.size() > limits.max_file_bytes) {
    return InvalidArgument("{} bytes, expected at most {}", json.size(), limits.max_file_bytes);
  }
  BATON_ASSIGN_OR_RETURN(const nlohmann::json document, ParseJson(json, kMaxDepth));
  const JsonField root(document, "");
  if (!document.is_object()) return InvalidArgument("expected an object");
  TokenizerSpec spec;
  BATON_RETURN_IF_ERROR(ParseModel(root.At("model"), limits, spec));
  BATON_RETURN_IF_ERROR(ParseNormalizer(root.At("normalizer"), spec));
  BATON_RETURN_IF_ERROR(ParsePreTokenizer(root.At("pre_tokenizer"), spec));
  BATON_RETURN_IF_ERROR(ParsePostProcessor(root.At("post_processor"), limits, spec));
  BATON_RETURN_IF_ERROR(ParseDecoder(root.At("decoder")));
  BATON_RETURN_IF_ERROR(ParseAddedTokens(root.At("added_tokens"), limits, spec));
  return spec;
}

}  // namespace baton
