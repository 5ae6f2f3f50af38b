#include "common/handoff/ucx/wire.h"

#include "common/base/status.h"

namespace baton::ucx {
namespace {

constexpr uint32_t kMagic = 0x4e544142;  // "BATN"
constexpr size_t kHelloFixedBytes = 20;
constexpr size_t kWelcomeBytes = 12;

template <typename T>
void Append(T value, std::string& out) {
  for (size_t i = 0; i < sizeof(T); ++i) out.push_back(static_cast<char>(value >> (8 * i)));
}

template <typename T>
T Read(std::string_view bytes, size_t offset) {
  T value = 0;
  for (size_t i = 0; i < sizeof(T); ++i) {
    value |= static_cast<T>(static_cast<uint8_t>(bytes[offset + i])) << (8 * i);
  }
  return value;
}

absl::Status CheckPrefix(std::string_view bytes) {
  if (const auto magic = Read<uint32_t>(bytes, 0); magic != kMagic) {
    return InvalidArgument("bulk hello: magic {:#x}, expected {:#x}", magic, kMagic);
  }
  if (const auto version = Read<uint32_t>(bytes, 4); version != kWireVersion) {
    return FailedPrecondition("bulk hello: version {}, expected {}", version, kWireVersion);
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::string> EncodeHello(const BulkPeer& self) {
  const std::string& id = self.worker.value();
  if (id.empty() || id.size() > kMaxWorkerIdBytes) {
    return InvalidArgument("worker id: {} bytes, expected 1 to {}", id.size(), kMaxWorkerIdBytes);
  }
  std::string out;
  Append(kMagic, out);
  Append(kWireVersion, out);
  Append(self.incarnation.value(), out);
  Append(static_cast<uint32_t>(id.size()), out);
  return out + id;
}

absl::StatusOr<BulkPeer> DecodeHello(std::string_view bytes) {
  if (bytes.size() < kHelloFixedBytes) {
    return InvalidArgument("bulk hello: {} bytes, expected at least {}", bytes.size(),
                           kHelloFixedBytes);
  }
  BATON_RETURN_IF_ERROR(CheckPrefix(bytes));
  const auto id_bytes = Read<uint32_t>(bytes, 16);
  const std::string_view id = bytes.substr(kHelloFixedBytes);
  if (id_bytes == 0 || id_bytes > kMaxWorkerIdBytes || id_bytes != id.size()) {
    return InvalidArgument("bulk hello: worker id of {} bytes in {}, expected 1 to {}", id_bytes,
                           id.size(), kMaxWorkerIdBytes);
  }
  return BulkPeer{WorkerId(std::string(id)), Incarnation(Read<uint64_t>(bytes, 8))};
}

std::string EncodeWelcome(bool accepted) {
  std::string out;
  Append(kMagic, out);
  Append(kWireVersion, out);
  Append(uint32_t{accepted}, out);
  return out;
}

absl::StatusOr<bool> DecodeWelcome(std::string_view bytes) {
  if (bytes.size() != kWelcomeBytes) {
    return InvalidArgument("bulk welcome: {} bytes, expected {}", bytes.size(), kWelcomeBytes);
  }
  BATON_RETURN_IF_ERROR(CheckPrefix(bytes));
  return Read<uint32_t>(bytes, 8) == 1;
}

}  // namespace baton::ucx
