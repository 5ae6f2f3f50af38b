#pragma once

#include <cstddef>
#include <cstdint>
#include <limits>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace baton {

// Bounds for a JSON text from outside.
struct JsonLimits {
  size_t max_bytes = 1 << 20;
  int max_depth = 16;
};

// Parses one JSON object. INVALID_ARGUMENT (prefixed by `what`) for a text that is too long, too
// deep, malformed, not UTF-8, not an object, or that gives one key of an object twice.
absl::StatusOr<nlohmann::json> ParseJsonObject(std::string_view text, std::string_view what,
                                               const JsonLimits& limits);

// Typed, range-checked reading of one object's fields. Errors are INVALID_ARGUMENT and name the
// field, its value and what was expected. An explicit null counts as absent. Borrows the object.
class JsonFields {
 public:
  // `prefix` is put in front of field names: "config.json: rope_parameters."
  JsonFields(const nlohmann::json& object, std::string prefix)
      : object_(object), prefix_(std::move(prefix)) {}

  bool Has(std::string_view name) const { return Find(name) != nullptr; }
  // Given as an explicit null: some formats mean by it what absence does not.
  bool IsNull(std::string_view name) const;
  // The raw value, or null when absent.
  const nlohmann::json* Find(std::string_view name) const;

  absl::StatusOr<int64_t> Int(std::string_view name, int64_t min, int64_t max,
                              std::optional<int64_t> fallback = std::nullopt) const;
  absl::StatusOr<double> Number(std::string_view name, double min, double max,
                                std::optional<double> fallback = std::nullopt) const;
  absl::StatusOr<bool> Bool(std::string_view name,
                            std::optional<bool> fallback = std::nullopt) const;
  absl::StatusOr<std::string> String(std::string_view name,
                                     std::optional<std::string> fallback = std::nullopt) const;
  // The object below `name`; INVALID_ARGUMENT when it is absent or not an object.
  absl::StatusOr<JsonFields> Object(std::string_view name) const;

  const std::string& prefix() const { return prefix_; }

 private:
  absl::Status Missing(std::string_view name, std::string_view expected) const;
  absl::Status Wrong(std::string_view name, const nlohmann::json& value,
                     std::string_view expected) const;

  const nlohmann::json& object_;
  std::string prefix_;
};

// `value` as it stands in the text, cut to a length fit for an error message.
std::string ShortJson(const nlohmann::json& value);

}  // namespace baton
