#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace baton {

// A value of an untrusted JSON document with the path that leads to it, for errors that name it.
// Refers to the document, which must outlive it.
class JsonField {
 public:
  JsonField(const nlohmann::json& value, std::string path)
      : value_(value), path_(std::move(path)) {}

  const nlohmann::json& value() const { return value_; }
  const std::string& path() const { return path_; }
  bool is_null() const { return value_.is_null(); }

  // A member of an object; the null value when absent or when this is no object.
  JsonField At(std::string_view key) const;
  // An element of an array; `index` must be below its size.
  JsonField At(size_t index) const;

  // INVALID_ARGUMENT naming path and type when the value is of another type.
  absl::StatusOr<std::string> String() const;
  absl::StatusOr<bool> Bool() const;
  absl::StatusOr<bool> BoolOr(bool absent) const;            // `absent` for null
  absl::StatusOr<int32_t> IntegerUpTo(int32_t limit) const;  // 0 to `limit`
  absl::Status ExpectObject() const;
  absl::Status ExpectArray() const;

 private:
  absl::Status Mismatch(std::string_view expected) const;

  const nlohmann::json& value_;
  std::string path_;
};

// Parses JSON nested at most `max_depth` deep; INVALID_ARGUMENT otherwise or when malformed.
absl::StatusOr<nlohmann::json> ParseJson(std::string_view text, int max_depth);

}  // namespace baton
