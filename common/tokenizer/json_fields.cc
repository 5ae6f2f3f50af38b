#include "common/tokenizer/json_fields.h"

#include <fmt/format.h>

#include "common/base/status.h"

namespace baton {
namespace {

const nlohmann::json kNull;

// The parser itself recurses nowhere, but what walks its result might.
int DepthOf(std::string_view text) {
  int depth = 0;
  int deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') ++i;
      if (c == '"') in_string = false;
    } else if (c == '"') {
      in_string = true;
    } else if (c == '[' || c == '{') {
      deepest = std::max(deepest, ++depth);
    } else if (c == ']' || c == '}') {
      --depth;
    }
  }
  return deepest;
}

}  // namespace

JsonField JsonField::At(std::string_view key) const {
  std::string path = path_.empty() ? std::string(key) : fmt::format("{}.{}", path_, key);
  if (!value_.is_object()) return {kNull, std::move(path)};
  const auto member = value_.find(std::string(key));
  return {member == value_.end() ? kNull : *member, std::move(path)};
}

JsonField JsonField::At(size_t index) const {
  return {value_[index], fmt::format("{}[{}]", path_, index)};
}

absl::StatusOr<std::string> JsonField::String() const {
  if (!value_.is_string()) return Mismatch("a string");
  return value_.get<std::string>();
}

absl::StatusOr<bool> JsonField::Bool() const {
  if (!value_.is_boolean()) return Mismatch("true or false");
  return value_.get<bool>();
}

absl::StatusOr<bool> JsonField::BoolOr(bool absent) const {
  if (is_null()) return absent;
  return Bool();
}

absl::StatusOr<int32_t> JsonField::IntegerUpTo(int32_t limit) const {
  const bool integer =
      value_.is_number_unsigned() || (value_.is_number_integer() && value_.get<int64_t>() >= 0);
  if (!integer || value_.get<uint64_t>() > static_cast<uint64_t>(limit)) {
    return Mismatch(fmt::format("an integer from 0 to {}", limit));
  }
  return value_.get<int32_t>();
}

absl::Status JsonField::ExpectObject() const {
  return value_.is_object() ? absl::OkStatus() : Mismatch("an object");
}

absl::Status JsonField::ExpectArray() const {
  return value_.is_array() ? absl::OkStatus() : Mismatch("an array");
}

absl::Status JsonField::Mismatch(std::string_view expected) const {
  if (value_.is_structured()) {
    return InvalidArgument("{}: {}, expected {}", path_, value_.type_name(), expected);
  }
  const std::string shown = value_.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  return InvalidArgument("{}: {}, expected {}", path_, shown.substr(0, 100), expected);
}

absl::StatusOr<nlohmann::json> ParseJson(std::string_view text, int max_depth) {
  if (const int depth = DepthOf(text); depth > max_depth) {
    return InvalidArgument("JSON nested {} deep, expected at most {}", depth, max_depth);
  }
  nlohmann::json document = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded()) return InvalidArgument("not well-formed JSON");
  return document;
}

}  // namespace baton
