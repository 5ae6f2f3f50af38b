#pragma once

#include <cstddef>
#include <filesystem>
#include <span>
#include <string>

#include "absl/status/statusor.h"

namespace baton {

// A whole file mapped read-only. Move-only; the bytes live as long as the object. Threads may read
// at once. A file that is truncated by someone else while mapped is outside the contract.
class MappedFile {
 public:
  // NOT_FOUND or FAILED_PRECONDITION with the path and the system's reason.
  static absl::StatusOr<MappedFile> Open(const std::filesystem::path& path);

  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::span<const std::byte> bytes() const { return {data_, size_}; }

 private:
  MappedFile(const std::byte* data, size_t size) : data_(data), size_(size) {}

  const std::byte* data_ = nullptr;
  size_t size_ = 0;
};

// Reads a small text file whole; FAILED_PRECONDITION when it is longer than `max_bytes`.
absl::StatusOr<std::string> ReadTextFile(const std::filesystem::path& path, size_t max_bytes);

}  // namespace baton
