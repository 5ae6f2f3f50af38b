#include "common/tokenizer/batch.h"

#include <istream>
#include <ostream>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "common/tokenizer/json_fields.h"

namespace baton {
namespace {

absl::StatusOr<std::vector<int32_t>> EncodeLine(const Tokenizer& tokenizer, EncodeOptions options,
                                                const std::string& line) {
  BATON_ASSIGN_OR_RETURN(const nlohmann::json object, ParseJson(line, /*max_depth=*/1));
  BATON_ASSIGN_OR_RETURN(const std::string text, JsonField(object, "").At("text").String());
  return tokenizer.Encode(text, options);
}

}  // namespace

absl::Status EncodeJsonLines(const Tokenizer& tokenizer, EncodeOptions options, std::istream& input,
                             std::ostream& output) {
  for (std::string line; std::getline(input, line);) {
    const auto ids = EncodeLine(tokenizer, options, line);
    const nlohmann::json answer = ids.ok() ? nlohmann::json{{"token_ids", *ids}}
                                           : nlohmann::json{{"error", ToString(ids.status())}};
    output << answer.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace) << '\n';
  }
  output.flush();
  return output ? absl::OkStatus() : Unavailable("output: writing failed");
}

}  // namespace baton
