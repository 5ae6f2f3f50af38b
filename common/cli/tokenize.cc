#include "common/cli/tokenize.h"

#include <filesystem>
#include <nlohmann/json.hpp>

#include "common/base/status.h"
#include "common/cli/input.h"
#include "common/model/model_files.h"
#include "common/tokenizer/tokenizer.h"

namespace baton {

absl::Status RunTokenize(const TokenizeOptions& options) {
  const int sources =
      options.text.has_value() + options.file.has_value() + options.decode.has_value();
  if (sources != 1) {
    return InvalidArgument("{} of --text, --file and --decode given, expected one", sources);
  }
  BATON_ASSIGN_OR_RETURN(const std::string tokenizer_json, ReadTokenizerJson(options.model));
  BATON_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Parse(tokenizer_json));
  nlohmann::ordered_json json;
  if (options.decode) {
    BATON_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, ParseTokenIds(*options.decode));
    BATON_ASSIGN_OR_RETURN(const std::string text, tokenizer->Decode(ids, {}));
    json["token_ids"] = ids;
    json["text"] = text;
    fmt::print("{}\n", options.json ? json.dump() : text);
    return absl::OkStatus();
  }
  std::string text = options.text.value_or("");
  if (options.file) {
    BATON_ASSIGN_OR_RETURN(text, ReadTextFile(*options.file));
  }
  BATON_ASSIGN_OR_RETURN(const std::vector<int32_t> ids,
                         tokenizer->Encode(text, {options.add_special_tokens}));
  json["token_ids"] = ids;
  fmt::print("{}\n", options.json ? json.dump() : fmt::format("{}", fmt::join(ids, ",")));
  return absl::OkStatus();
}

}  // namespace baton
