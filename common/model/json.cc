#include "common/model/json.h"

#include <set>
#include <vector>

#include "common/base/status.h"

namespace baton {
namespace {

// The deepest nesting of brackets outside strings: checked before parsing, so that a hostile text
// costs no more than its length.
int NestingDepth(std::string_view text) {
  int depth = 0;
  int deepest = 0;
  bool in_string = false;
  for (size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (in_string) {
      if (c == '\\') {
        ++i;
      } else if (c == '"') {
        in_string = false;
      }
    } else if (c == '"') {
      in_string = true;
    } else if (c == '{' || c == '[') {
      deepest = std::max(deepest, ++depth);
    } else if (c == '}' || c == ']') {
      --depth;
    }
  }
  return deepest;
}

}  // namespace

std::string ShortJson(const nlohmann::json& value) {
  constexpr size_t kLimit = 80;
  std::string text = value.dump(-1, ' ', true, nlohmann::json::error_handler_t::replace);
  if (text.size() > kLimit) text = text.substr(0, kLimit) + "…";
  return text;
}

absl::StatusOr<nlohmann::json> ParseJsonObject(std::string_view text, std::string_view what,
                                               const JsonLimits& limits) {
  if (text.size() > limits.max_bytes) {
    return InvalidArgument("{}: {} bytes of JSON, expected at most {}", what, text.size(),
                           limits.max_bytes);
  }
  if (const int depth = NestingDepth(text); depth > limits.max_depth) {
    return InvalidArgument("{}: JSON nested {} deep, expected at most {}", what, depth,
                           limits.max_depth);
  }
  std::vector<std::set<std::string>> keys;
  std::optional<std::string> duplicate;
  const auto watch_keys = [&](int, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    switch (event) {
      case nlohmann::json::parse_event_t::object_start:
        keys.emplace_back();
        break;
      case nlohmann::json::parse_event_t::object_end:
        keys.pop_back();
        break;
      case nlohmann::json::parse_event_t::key: {
        auto name = parsed.get<std::string>();
        if (!keys.back().insert(name).second && !duplicate) duplicate = std::move(name);
        break;
      }
      case nlohmann::json::parse_event_t::array_start:
      case nlohmann::json::parse_event_t::array_end:
      case nlohmann::json::parse_event_t::value:
        break;
    }
    return true;
  };
  nlohmann::json parsed;
  try {
    parsed = nlohmann::json::parse(text.begin(), text.end(), watch_keys);
  } catch (const nlohmann::json::exception& error) {
    return InvalidArgument("{}: not valid JSON: {}", what, error.what());
  }
  if (duplicate) return InvalidArgument("{}: key '{}' is given twice", what, *duplicate);
  if (!parsed.is_object()) {
    return InvalidArgument("{}: {}, expected a JSON object", what, parsed.type_name());
  }
  return parsed;
}

bool JsonFields::IsNull(std::string_view name) const {
  const auto it = object_.find(std::string(name));
  return it != object_.end() && it->is_null();
}

const nlohmann::json* JsonFields::Find(std::string_view name) const {
  const auto it = object_.find(std::string(name));
  return it == object_.end() || it->is_null() ? nullptr : &*it;
}

absl::Status JsonFields::Missing(std::string_view name, std::string_view expected) const {
  return InvalidArgument("{}{}: missing, expected {}", prefix_, name, expected);
}

absl::Status JsonFields::Wrong(std::string_view name, const nlohmann::json& value,
                               std::string_view expected) const {
  return InvalidArgument("{}{}: {}, expected {}", prefix_, name, ShortJson(value), expected);
}

absl::StatusOr<int64_t> JsonFields::Int(std::string_view name, int64_t min, int64_t max,
                                        std::optional<int64_t> fallback) const {
  const std::string expected = fmt::format("an integer from {} to {}", min, max);
  const nlohmann::json* value = Find(name);
  if (value == nullptr) {
    if (fallback) return *fallback;
    return Missing(name, expected);
  }
  if (!value->is_number_integer()) return Wrong(name, *value, expected);
  // Above int64 the library keeps an unsigned number, whose conversion would wrap.
  if (value->is_number_unsigned() &&
      value->get<uint64_t>() > static_cast<uint64_t>(std::numeric_limits<int64_t>::max())) {
    return Wrong(name, *value, expected);
  }
  const auto number = value->get<int64_t>();
  if (number < min || number > max) return Wrong(name, *value, expected);
  return number;
}

absl::StatusOr<double> JsonFields::Number(std::string_view name, double min, double max,
                                          std::optional<double> fallback) const {
  const std::string expected = fmt::format("a number from {} to {}", min, max);
  const nlohmann::json* value = Find(name);
  if (value == nullptr) {
    if (fallback) return *fallback;
    return Missing(name, expected);
  }
  if (!value->is_number()) return Wrong(name, *value, expected);
  const auto number = value->get<double>();
  if (!(number >= min && number <= max)) return Wrong(name, *value, expected);
  return number;
}

absl::StatusOr<bool> JsonFields::Bool(std::string_view name, std::optional<bool> fallback) const {
  const nlohmann::json* value = Find(name);
  if (value == nullptr) {
    if (fallback) return *fallback;
    return Missing(name, "true or false");
  }
  if (!value->is_boolean()) return Wrong(name, *value, "true or false");
  return value->get<bool>();
}

absl::StatusOr<std::string> JsonFields::String(std::string_view name,
                                               std::optional<std::string> fallback) const {
  const nlohmann::json* value = Find(name);
  if (value == nullptr) {
    if (fallback) return *std::move(fallback);
    return Missing(name, "a string");
  }
  if (!value->is_string()) return Wrong(name, *value, "a string");
  return value->get<std::string>();
}

absl::StatusOr<JsonFields> JsonFields::Object(std::string_view name) const {
  const nlohmann::json* value = Find(name);
  if (value == nullptr) return Missing(name, "an object");
  if (!value->is_object()) return Wrong(name, *value, "an object");
  return JsonFields(*value, fmt::format("{}{}.", prefix_, name));
}

}  // namespace baton
