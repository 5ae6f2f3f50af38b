#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace baton::kernels {

// Number format of cached keys or values, in pages and on the wire. The values are wire codes (slab
// header): never renumber. One scale group is one token of one KV head: `head_dim` values of K, or
// of V.
enum class KvFormat : uint8_t {
  kFp16 = 1,
  kBf16 = 2,
  kFp8E4m3 = 3,  // s * q, s = fp16(amax / 448)
  kFp8E5m2 = 4,  // unscaled
  kInt8 = 5,     // s * q, q in -127...127
  kInt4 = 6,     // m + s * q, q in 0...15, low nibble = even dimension
};

// The formats of K and V. "k8v4" is {kInt8, kInt4}; every other public name uses one format for
// both.
struct KvFormats {
  KvFormat k = KvFormat::kFp16;
  KvFormat v = KvFormat::kFp16;

  friend bool operator==(const KvFormats&, const KvFormats&) = default;
};

// "fp16", "bf16", "fp8_e4m3", "fp8_e5m2", "int8" or "int4"; "invalid" for a value outside the
// enumeration.
std::string_view KvFormatName(KvFormat format);

// Name of a pair: the common name if both are equal, "k8v4", else "<k>+<v>" (for messages only: not
// parsed back).
std::string KvFormatsName(KvFormats formats);

// Inverse of KvFormatsName for the public names (the six formats and "k8v4"); nullopt for anything
// else.
std::optional<KvFormats> ParseKvFormats(std::string_view name);

// From a wire code; nullopt if it is none of the enumeration.
std::optional<KvFormat> KvFormatFromCode(uint8_t code);

// Bytes of the codes of one group of `head_dim` values (head_dim: a multiple of 16).
constexpr size_t KvCodeBytes(KvFormat format, int head_dim) {
  switch (format) {
    case KvFormat::kFp16:
    case KvFormat::kBf16:
      return static_cast<size_t>(head_dim) * 2;
    case KvFormat::kFp8E4m3:
    case KvFormat::kFp8E5m2:
    case KvFormat::kInt8:
      return static_cast<size_t>(head_dim);
    case KvFormat::kInt4:
      return static_cast<size_t>(head_dim) / 2;
  }
  return 0;
}

// Bytes of the scale data of one group: 0 (fp16, bf16, e5m2), 2 (s) or 4 (s, then m).
constexpr size_t KvScaleBytes(KvFormat format) {
  switch (format) {
    case KvFormat::kFp8E4m3:
    case KvFormat::kInt8:
      return 2;
    case KvFormat::kInt4:
      return 4;
    default:
      return 0;
  }
}

}  // namespace baton::kernels
