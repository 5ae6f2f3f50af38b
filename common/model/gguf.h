#pragma once

#include <cstddef>
#include <cstdint>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/model/safetensors.h"

namespace baton {

// A tensor type of GGUF that we read: rows of blocks of `values` numbers in `bytes` bytes.
struct GgufType {
  uint32_t id;
  std::string_view name;  // "Q4_K"
  int64_t values;
  int64_t bytes;
};
const GgufType* FindGgufType(uint32_t id);
const GgufType* FindGgufType(std::string_view name);
// The same as a type of safetensors, for the types that have one (F32, F16, BF16).
std::optional<DataType> DataTypeOf(const GgufType& type);

struct GgufTensor {
  std::string name;
  std::vector<int64_t> shape;  // the innermost dimension last, unlike in the file
  const GgufType* type = nullptr;
  std::span<const std::byte> bytes;
};

// What a GGUF file holds. Borrows the file's bytes.
struct GgufContent {
  nlohmann::json metadata;  // object: scalars and strings by key
  std::map<std::string, std::vector<std::string_view>, std::less<>> string_arrays;
  std::map<std::string, std::vector<int64_t>, std::less<>> integer_arrays;  // up to 64 bits
  std::vector<GgufTensor> tensors;

  const GgufTensor* Find(std::string_view name) const;
};

// Reads a GGUF file (version 2 or 3, little-endian) that lies whole in memory. INVALID_ARGUMENT
// with `what` in front, naming the key or tensor: a file that ends early, counts and sizes that
// cannot be, repeated names, tensors that are unaligned, overlap or run past the end;
// UNIMPLEMENTED for another version, a tensor type we do not read, and parts of a split file.
// Arrays of other elements than strings and integers are checked and left out.
absl::StatusOr<GgufContent> ParseGguf(std::span<const std::byte> file, std::string_view what);

}  // namespace baton
