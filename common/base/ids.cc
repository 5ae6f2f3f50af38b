#include "common/base/ids.h"

#include "common/base/status.h"

namespace baton {
namespace {

void AppendBigEndian(uint64_t value, std::string& out) {
  for (int shift = 56; shift >= 0; shift -= 8) out.push_back(static_cast<char>(value >> shift));
}

uint64_t ReadBigEndian(std::string_view bytes) {
  uint64_t value = 0;
  for (char c : bytes) value = (value << 8) | static_cast<uint8_t>(c);
  return value;
}

}  // namespace

TransferId TransferId::Random(std::mt19937_64& rng) { return {rng(), rng()}; }

absl::StatusOr<TransferId> TransferId::FromBytes(std::string_view bytes) {
  if (bytes.size() != 16) {
    return InvalidArgument("transfer_id: {} bytes, expected 16", bytes.size());
  }
  return TransferId{ReadBigEndian(bytes.substr(0, 8)), ReadBigEndian(bytes.substr(8))};
}

std::string TransferId::ToBytes() const {
  std::string out;
  out.reserve(16);
  AppendBigEndian(high, out);
  AppendBigEndian(low, out);
  return out;
}

std::string TransferId::ToString() const { return fmt::format("{:016x}{:016x}", high, low); }

std::mt19937_64 MakeRandomEngine() {
  std::random_device device;
  std::seed_seq seed{device(), device(), device(), device()};
  return std::mt19937_64(seed);
}

}  // namespace baton
