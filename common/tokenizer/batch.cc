#include "common/tokenizer/batch.h"

#include <istream>
#include <limits>
#include <ostream>
#include <string>
#include <utility>
#include <vector>

#include "common/base/status.h"
#include "common/tokenizer/json_fields.h"

namespace baton {
namespace {

constexpr int kMaxDepth = 4;
constexpr int32_t kMaxId = std::numeric_limits<int32_t>::max();

absl::StatusOr<std::vector<int32_t>> ReadIds(const JsonField& field) {
  BATON_RETURN_IF_ERROR(field.ExpectArray());
  std::vector<int32_t> ids;
  for (size_t i = 0; i < field.value().size(); ++i) {
    BATON_ASSIGN_OR_RETURN(const int32_t id, field.At(i).IntegerUpTo(kMaxId));
    ids.push_back(id);
  }
  return ids;
}

absl::StatusOr<nlohmann::json> TranslateLine(const Tokenizer& tokenizer, EncodeOptions encode,
                                             DetokenizeOptions decode, const std::string& line) {
  BATON_ASSIGN_OR_RETURN(const nlohmann::json object, ParseJson(line, kMaxDepth));
  const JsonField root(object, "");
  if (!root.At("token_ids").is_null()) {
    BATON_ASSIGN_OR_RETURN(const std::vector<int32_t> ids, ReadIds(root.At("token_ids")));
    BATON_ASSIGN_OR_RETURN(std::string text, tokenizer.Decode(ids, decode));
    return nlohmann::json{{"text", std::move(text)}};
  }
  BATON_ASSIGN_OR_RETURN(const std::string text, root.At("text").String());
  BATON_ASSIGN_OR_RETURN(std::vector<int32_t> ids, tokenizer.Encode(text, encode));
  return nlohmann::json{{"token_ids", std::move(ids)}};
}

}  // namespace

absl::Status TranslateJsonLines(const Tokenizer& tokenizer, EncodeOptions encode,
                                DetokenizeOptions decode, std::istream& input,
                                std::ostream& output) {
  for (std::string line; std::getline(input, line);) {
    const auto translated = TranslateLine(tokenizer, encode, decode, line);
    const nlohmann::json answer =
        translated.ok() ? *translated : nlohmann::json{{"error", ToString(translated.status())}};
    output << answer.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) << '\n';
  }
  output.flush();
  return output ? absl::OkStatus() : Unavailable("output: writing failed");
}

}  // namespace baton
