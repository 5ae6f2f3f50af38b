#include "common/model/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <nlohmann/json.hpp>
#include <system_error>

#include "common/base/status.h"

namespace baton {
namespace {

constexpr size_t kHeaderAlignment = 8;

absl::Status SystemError(const std::filesystem::path& path, std::string_view action) {
  return FailedPrecondition("{}: {}: {}", path.string(), action, std::strerror(errno));
}

// A file that takes its final name only when it is complete.
class AtomicFile {
 public:
  explicit AtomicFile(std::filesystem::path path)
      : path_(std::move(path)), temporary_(path_.string() + ".part") {}
  ~AtomicFile() {
    if (descriptor_ >= 0) ::close(descriptor_);
    if (!renamed_) ::unlink(temporary_.c_str());
  }
  AtomicFile(const AtomicFile&) = delete;
  AtomicFile& operator=(const AtomicFile&) = delete;

  absl::Status Open() {
    descriptor_ = ::open(temporary_.c_str(), O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    return descriptor_ < 0 ? SystemError(temporary_, "cannot be created") : absl::OkStatus();
  }

  absl::Status Write(std::span<const std::byte> bytes) {
    while (!bytes.empty()) {
      const ssize_t written = ::write(descriptor_, bytes.data(), bytes.size());
      if (written < 0 && errno == EINTR) continue;
      if (written < 0) return SystemError(temporary_, "writing failed");
      bytes = bytes.subspan(static_cast<size_t>(written));
    }
    return absl::OkStatus();
  }

  absl::Status Commit() {
    if (::fsync(descriptor_) != 0) return SystemError(temporary_, "flushing failed");
    if (::close(std::exchange(descriptor_, -1)) != 0) {
      return SystemError(temporary_, "closing failed");
    }
    if (::rename(temporary_.c_str(), path_.c_str()) != 0) {
      return SystemError(path_, "renaming failed");
    }
    renamed_ = true;
    return absl::OkStatus();
  }

 private:
  std::filesystem::path path_;
  std::filesystem::path temporary_;
  int descriptor_ = -1;
  bool renamed_ = false;
};

std::span<const std::byte> BytesOf(std::string_view text) {
  return std::as_bytes(std::span(text.data(), text.size()));
}

absl::Status CheckTensor(const NamedTensor& tensor) {
  uint64_t bytes = static_cast<uint64_t>(SizeOf(tensor.view.type));
  bool overflow = false;
  for (const int64_t size : tensor.view.shape) {
    overflow |= size < 0 || __builtin_mul_overflow(bytes, static_cast<uint64_t>(size), &bytes);
  }
  if (overflow || bytes != tensor.view.bytes.size()) {
    return InvalidArgument("tensor '{}': {} bytes, expected {} for its shape and type", tensor.name,
                           tensor.view.bytes.size(),
                           overflow ? "a size within 64 bits" : fmt::to_string(bytes));
  }
  return absl::OkStatus();
}

}  // namespace

absl::Status WriteSafetensors(const std::filesystem::path& path,
                              std::span<const NamedTensor> tensors,
                              const std::map<std::string, std::string>& metadata) {
  std::vector<const NamedTensor*> ordered;
  for (const NamedTensor& tensor : tensors) {
    BATON_RETURN_IF_ERROR(CheckTensor(tensor));
    ordered.push_back(&tensor);
  }
  std::sort(ordered.begin(), ordered.end(), [](const NamedTensor* a, const NamedTensor* b) {
    return std::pair(-SizeOf(a->view.type), std::string_view(a->name)) <
           std::pair(-SizeOf(b->view.type), std::string_view(b->name));
  });
  nlohmann::ordered_json header;
  header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const NamedTensor* tensor : ordered) {
    if (header.contains(tensor->name)) {
      return InvalidArgument("{}: tensor '{}' is given twice", path.filename().string(),
                             tensor->name);
    }
    const uint64_t end = offset + tensor->view.bytes.size();
    header[tensor->name] = {{"dtype", NameOf(tensor->view.type)},
                            {"shape", tensor->view.shape},
                            {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.resize((text.size() + kHeaderAlignment - 1) / kHeaderAlignment * kHeaderAlignment, ' ');
  const uint64_t length = text.size();
  AtomicFile file(path);
  BATON_RETURN_IF_ERROR(file.Open());
  BATON_RETURN_IF_ERROR(file.Write(std::as_bytes(std::span(&length, 1))));
  BATON_RETURN_IF_ERROR(file.Write(BytesOf(text)));
  for (const NamedTensor* tensor : ordered) BATON_RETURN_IF_ERROR(file.Write(tensor->view.bytes));
  return file.Commit();
}

absl::Status WriteTextFile(const std::filesystem::path& path, std::string_view text) {
  AtomicFile file(path);
  BATON_RETURN_IF_ERROR(file.Open());
  BATON_RETURN_IF_ERROR(file.Write(BytesOf(text)));
  return file.Commit();
}

}  // namespace baton
