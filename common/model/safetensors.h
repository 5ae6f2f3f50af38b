#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/model/mapped_file.h"

namespace baton {

// Number types of the safetensors format that can stand in a checkpoint.
enum class DataType {
  kBool,
  kU8,
  kI8,
  kF8E4m3,
  kF8E5m2,
  kI16,
  kU16,
  kF16,
  kBf16,
  kI32,
  kU32,
  kF32,
  kI64,
  kU64,
  kF64
};

int SizeOf(DataType type);               // bytes of one value
std::string_view NameOf(DataType type);  // as the file spells it: "BF16"

// One tensor of a file, row-major. Borrows the bytes; they may start at any address.
struct TensorView {
  DataType type = DataType::kF32;
  std::vector<int64_t> shape;
  std::span<const std::byte> bytes;  // exactly product(shape) * SizeOf(type)
};

struct NamedTensor {
  std::string name;
  TensorView view;
};

// Reads a safetensors file that lies whole in memory. The views borrow `file`. Refuses, naming the
// tensor: a header that is truncated, too long, malformed or repeats a name; an unknown type; a
// size that overflows or does not match the shape; and offsets that overlap, leave holes or run
// past the end (the format wants the data filled exactly). INVALID_ARGUMENT with `what` in front.
absl::StatusOr<std::vector<NamedTensor>> ParseSafetensors(std::span<const std::byte> file,
                                                          std::string_view what);

// A file and the tensors in it. Move-only; the views live as long as the object.
class SafetensorsFile {
 public:
  static absl::StatusOr<SafetensorsFile> Open(const std::filesystem::path& path);
  const std::vector<NamedTensor>& tensors() const { return tensors_; }  // in file order

 private:
  SafetensorsFile(MappedFile file, std::vector<NamedTensor> tensors)
      : file_(std::move(file)), tensors_(std::move(tensors)) {}

  MappedFile file_;
  std::vector<NamedTensor> tensors_;
};

}  // namespace baton
