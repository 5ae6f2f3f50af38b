#include "common/quant/formats/gguf_blocks.h"

#include <array>
#include <cstring>
#include <utility>

#include "kernels/numeric/formats.h"

namespace baton {
namespace {

float HalfAt(const uint8_t* at) {
  uint16_t bits;
  std::memcpy(&bits, at, sizeof(bits));
  return kernels::FloatFromFp16(bits);
}

// 32 values: a scale, a minimum where `kMinimum`, fifth bits where `kFive`, then 16 bytes whose low
// halves are values 0 … 15 and whose high halves are values 16 … 31.
template <bool kMinimum, bool kFive>
void ExpandNibbles(const std::byte* data, int64_t blocks, float* out) {
  constexpr int64_t kBytes = 2 + (kMinimum ? 2 : 0) + (kFive ? 4 : 0) + 16;
  constexpr int kMiddle = kMinimum ? 0 : (kFive ? 16 : 8);
  for (int64_t block = 0; block < blocks; ++block, out += 32) {
    const auto* at = reinterpret_cast<const uint8_t*>(data + block * kBytes);
    const float scale = HalfAt(at);
    at += 2;
    float minimum = 0;
    if constexpr (kMinimum) {
      minimum = HalfAt(at);
      at += 2;
    }
    uint32_t fifth = 0;
    if constexpr (kFive) {
      std::memcpy(&fifth, at, sizeof(fifth));
      at += sizeof(fifth);
    }
    for (int i = 0; i < 32; ++i) {
      const int nibble = i < 16 ? at[i] & 15 : at[i - 16] >> 4;
      const int code = nibble | static_cast<int>(fifth >> i & 1) << 4;
      const float product = static_cast<float>(code - kMiddle) * scale;
      out[i] = kMinimum ? product + minimum : product;
    }
  }
}

void ExpandQ8(const std::byte* data, int64_t blocks, float* out) {
  for (int64_t block = 0; block < blocks; ++block, out += 32) {
    const auto* at = reinterpret_cast<const uint8_t*>(data + block * 34);
    const float scale = HalfAt(at);
    for (int i = 0; i < 32; ++i) {
      out[i] = static_cast<float>(static_cast<int8_t>(at[2 + i])) * scale;
    }
  }
}

// Scale and minimum of 32 values, six bits each, eight pairs in 12 bytes.
std::pair<int, int> SixBits(const uint8_t* q, int i) {
  if (i < 4) return {q[i] & 63, q[i + 4] & 63};
  return {(q[i + 4] & 15) | (q[i - 4] >> 6) << 4, (q[i + 4] >> 4) | (q[i] >> 6) << 4};
}

// 256 values: scale and minimum of the block, those of each 32 values, fifth bits where `kFive`
// (bit i of byte j: value 32 i + j), then 32 bytes for each 64 values, low halves first.
template <bool kFive>
void ExpandK(const std::byte* data, int64_t blocks, float* out) {
  constexpr int64_t kBytes = 16 + (kFive ? 32 : 0) + 128;
  for (int64_t block = 0; block < blocks; ++block, out += 256) {
    const auto* at = reinterpret_cast<const uint8_t*>(data + block * kBytes);
    const float block_scale = HalfAt(at);
    const float block_minimum = HalfAt(at + 2);
    const uint8_t* high = at + 16;
    const uint8_t* low = high + (kFive ? 32 : 0);
    for (int part = 0; part < 8; ++part) {
      const auto [six_scale, six_minimum] = SixBits(at + 4, part);
      const float scale = block_scale * static_cast<float>(six_scale);
      const float minimum = block_minimum * static_cast<float>(six_minimum);
      for (int j = 0; j < 32; ++j) {
        const uint8_t byte = low[part / 2 * 32 + j];
        int code = part % 2 == 0 ? byte & 15 : byte >> 4;
        if constexpr (kFive) code |= (high[j] >> part & 1) << 4;
        out[part * 32 + j] = scale * static_cast<float>(code) - minimum;
      }
    }
  }
}

// 256 values in two halves: 64 bytes of low halves, 32 bytes of upper bit pairs and eight scales
// each; the block's scale at the end.
void ExpandQ6K(const std::byte* data, int64_t blocks, float* out) {
  for (int64_t block = 0; block < blocks; ++block, out += 256) {
    const auto* at = reinterpret_cast<const uint8_t*>(data + block * 210);
    const float block_scale = HalfAt(at + 208);
    for (int i = 0; i < 256; ++i) {
      const int half = i / 128;
      const int quarter = i % 128 / 32;  // which bit pair, and which half of a byte
      const int j = i % 32;
      const uint8_t byte = at[half * 64 + quarter % 2 * 32 + j];
      const int low = quarter < 2 ? byte & 15 : byte >> 4;
      const int high = at[128 + half * 32 + j] >> (2 * quarter) & 3;
      const float scale = block_scale * static_cast<float>(static_cast<int8_t>(at[192 + i / 16]));
      out[i] = scale * static_cast<float>((low | high << 4) - 32);
    }
  }
}

}  // namespace

ExpandBlocks FindExpandBlocks(std::string_view type) {
  static constexpr std::array<std::pair<std::string_view, ExpandBlocks>, 8> kExpanders = {{
      {"Q4_0", ExpandNibbles<false, false>},
      {"Q4_1", ExpandNibbles<true, false>},
      {"Q5_0", ExpandNibbles<false, true>},
      {"Q5_1", ExpandNibbles<true, true>},
      {"Q8_0", ExpandQ8},
      {"Q4_K", ExpandK<false>},
      {"Q5_K", ExpandK<true>},
      {"Q6_K", ExpandQ6K},
  }};
  for (const auto& [name, expand] : kExpanders) {
    if (name == type) return expand;
  }
  return nullptr;
}

}  // namespace baton
