#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>

namespace baton {

// Codes of 1 to 8 bits as one stream of bits in little-endian 32-bit words, low bits first: code i
// stands in bits [i · bits, (i + 1) · bits) of the stream. 32 codes fill `bits` words exactly; a
// code may cross into the next word. This is how compressed-tensors packs rows and GPTQ columns.
inline int64_t PackedWords(int64_t count, int bits) { return (count * bits + 31) / 32; }

// Words of a file, which may start at any address; word i is `stride` words after word i - 1.
class PackedStream {
 public:
  PackedStream(const std::byte* words, int64_t stride, int bits)
      : words_(words), stride_(stride), bits_(bits), mask_((1u << bits) - 1) {}

  int bits() const { return bits_; }
  uint8_t Code(int64_t i) const {
    const int64_t bit = i * bits_;
    const int64_t word = bit / 32;
    const int shift = static_cast<int>(bit % 32);
    uint64_t value = Word(word) >> shift;
    if (shift + bits_ > 32) value |= uint64_t{Word(word + 1)} << (32 - shift);
    return static_cast<uint8_t>(value & mask_);
  }
  uint32_t Word(int64_t i) const {
    uint32_t word;
    std::memcpy(&word, words_ + i * stride_ * 4, sizeof(word));
    return word;
  }

 private:
  const std::byte* words_;
  int64_t stride_;
  int bits_;
  uint32_t mask_;
};

// The eight nibbles of a word, the lowest first, as the bytes of a little-endian number.
inline uint64_t SpreadNibbles(uint32_t word) {
  uint64_t x = word;
  x = (x | x << 16) & 0x0000FFFF0000FFFF;
  x = (x | x << 8) & 0x00FF00FF00FF00FF;
  return (x | x << 4) & 0x0F0F0F0F0F0F0F0F;
}

// Codes [0, count) of a stream, one per byte.
inline void UnpackCodes(const PackedStream& stream, int64_t count, uint8_t* out) {
  int64_t i = 0;
  if (stream.bits() == 4) {
    for (; i + 8 <= count; i += 8) {
      const uint64_t codes = SpreadNibbles(stream.Word(i / 8));
      std::memcpy(out + i, &codes, sizeof(codes));
    }
  } else if (stream.bits() == 8) {
    for (; i + 4 <= count; i += 4) {
      const uint32_t codes = stream.Word(i / 4);
      std::memcpy(out + i, &codes, sizeof(codes));
    }
  }
  for (; i < count; ++i) out[i] = stream.Code(i);
}

// Unsigned codes of `bits` bits to the signed ones 2^(bits - 1) below, in place.
inline void MakeSigned(uint8_t* codes, int64_t count, int bits) {
  const auto half = static_cast<uint8_t>(1 << (bits - 1));
  for (int64_t i = 0; i < count; ++i) codes[i] = static_cast<uint8_t>(codes[i] - half);
}

// Adds code i to a stream of zeroed words.
inline void PutCode(uint32_t* words, int64_t stride, int bits, int64_t i, uint8_t code) {
  const int64_t bit = i * bits;
  const int shift = static_cast<int>(bit % 32);
  words[bit / 32 * stride] |= uint32_t{code} << shift;
  if (shift + bits > 32) words[(bit / 32 + 1) * stride] |= uint32_t{code} >> (32 - shift);
}

}  // namespace baton
