#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <variant>

#include "kernels/kv_page/kv_format.h"
#include "kernels/kv_page/layout.h"

namespace baton::kernels {

// What one slab carries: layers [l0,l1) x KV heads [h0,h1) x tokens [t0,t1).
struct SlabRange {
  uint32_t l0 = 0, l1 = 0;
  uint32_t h0 = 0, h1 = 0;
  uint32_t t0 = 0, t1 = 0;

  friend bool operator==(const SlabRange&, const SlabRange&) = default;
};

// The 128-byte header that travels with every slab. Plain value; see Encode and Decode for the
// bytes.
struct SlabHeader {
  static constexpr size_t kBytes = 128;
  static constexpr uint32_t kMagic = 0x534E5442;  // "BTNS"
  static constexpr uint16_t kVersion = 1;

  std::array<std::byte, 16> transfer_id{};
  uint32_t attempt = 0;
  uint32_t slab_number = 0;
  SlabRange range;
  KvFormats formats;
  uint64_t payload_bytes = 0;
  uint64_t checksum = 0;  // PayloadChecksum + HeaderChecksum of this header

  friend bool operator==(const SlabHeader&, const SlabHeader&) = default;
};

using SlabHeaderBytes = std::array<std::byte, SlabHeader::kBytes>;

SlabHeaderBytes EncodeSlabHeader(const SlabHeader& header);

// Reads a header that came from a peer. Checks magic, version, sizes, zero fields, format codes,
// that every range is non-empty, and that payload_bytes is what range, formats and `head_dim` give.
// It does not check the range against a transfer, nor the checksum. On failure: what was wrong
// (field, value, expectation).
std::variant<SlabHeader, std::string> DecodeSlabHeader(std::span<const std::byte> bytes,
                                                       int head_dim);

// Where the sections of a payload lie: per layer K codes [head][token][dim], K scale plane
// [head][token], V codes, V scale plane, each from a multiple of 16 on; an absent section has
// length 0.
class SlabLayout {
 public:
  SlabLayout() = default;  // no layers: zero bytes
  // nullopt if a range is empty, head_dim is not a multiple of 16 in [16, 256], or the size exceeds
  // 2^63 - 1.
  static std::optional<SlabLayout> Make(const SlabRange& range, KvFormats formats, int head_dim);

  uint64_t payload_bytes() const { return layer_bytes_ * layers_; }
  uint64_t layer_bytes() const { return layer_bytes_; }
  // Offset from the payload's start; `layer` counts from l0.
  uint64_t CodeSection(uint32_t layer, KvTensor tensor) const {
    return layer * layer_bytes_ + code_start_[static_cast<int>(tensor)];
  }
  uint64_t ScaleSection(uint32_t layer, KvTensor tensor) const {
    return layer * layer_bytes_ + scale_start_[static_cast<int>(tensor)];
  }
  // End of a tensor's sections with their padding: the sections [CodeSection, TensorEnd) tile the
  // payload.
  uint64_t TensorEnd(uint32_t layer, KvTensor tensor) const {
    return layer * layer_bytes_ + (tensor == KvTensor::kKey ? code_start_[1] : layer_bytes_);
  }
  uint32_t layers() const { return layers_; }
  uint32_t heads() const { return heads_; }
  uint32_t tokens() const { return tokens_; }
  int head_dim() const { return head_dim_; }
  KvFormats formats() const { return formats_; }
  KvFormat format(KvTensor tensor) const {
    return tensor == KvTensor::kKey ? formats_.k : formats_.v;
  }

 private:
  uint32_t layers_ = 0, heads_ = 0, tokens_ = 0;
  int head_dim_ = 0;
  KvFormats formats_;
  uint64_t code_start_[2] = {0, 0};
  uint64_t scale_start_[2] = {0, 0};
  uint64_t layer_bytes_ = 0;
};

// Finalizer of splitmix64.
constexpr uint64_t Mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
  return x ^ (x >> 31);
}

// Contribution of the word with index i. The checksum is the plain sum over words, so parts may be
// added in any order.
constexpr uint64_t ChecksumWord(uint64_t word, uint64_t i) {
  return Mix64(word ^ (i * 0x9E3779B97F4A7C15u));
}

// Checksum of whole 64-bit little-endian words; `bytes.size()` is a multiple of 8, `first_word` the
// index of the first.
uint64_t PayloadChecksum(std::span<const std::byte> bytes, uint64_t first_word = 0);
// The header's part: its 16 words with the checksum field taken as zero, words counted from 2^32.
uint64_t HeaderChecksum(const SlabHeader& header);
// Digest of a transfer = sum of DigestTerm over its slabs, each number once, mod 2^64.
constexpr uint64_t DigestTerm(uint64_t checksum, uint32_t slab_number) {
  return Mix64(checksum ^ slab_number);
}

}  // namespace baton::kernels
