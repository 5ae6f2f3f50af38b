#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "common/model/safetensors.h"

namespace baton {

// Writes `tensors` as one safetensors file: under a temporary name beside `path` first, flushed to
// disk, then renamed, so that `path` is complete or absent. Tensors of wide types come first, which
// aligns every tensor to its type. `metadata` becomes the header's "__metadata__". INVALID_ARGUMENT
// for a name given twice or bytes that do not match the shape; FAILED_PRECONDITION with the
// system's reason when writing fails.
absl::Status WriteSafetensors(const std::filesystem::path& path,
                              std::span<const NamedTensor> tensors,
                              const std::map<std::string, std::string>& metadata);

// Writes a small text file in the same manner.
absl::Status WriteTextFile(const std::filesystem::path& path, std::string_view text);

}  // namespace baton
