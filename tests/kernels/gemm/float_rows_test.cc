#include "kernels/gemm/float_rows.h"

#include <gtest/gtest.h>

#include <bit>
#include <cstring>
#include <vector>

#include "kernels/numeric/formats.h"
#include "tests/kernels/kv_page/targets.h"

namespace baton::kernels {
namespace {

constexpr ScalarType kTypes[] = {ScalarType::kFp32, ScalarType::kFp16, ScalarType::kBf16};

// All numbers of 16 bits; of fp32 all upper halves with the lower ones at and around every tie and
// carry of the narrower types.
std::vector<uint32_t> Patterns(ScalarType type) {
  std::vector<uint32_t> lows = {0};
  if (type == ScalarType::kFp32) {
    lows = {0x0000, 0x0001, 0x0FFF, 0x1000, 0x1001, 0x1FFF, 0x2000, 0x2FFF,
            0x3000, 0x3001, 0x7FFF, 0x8000, 0x8001, 0xEFFF, 0xF000, 0xFFFF};
  }
  std::vector<uint32_t> patterns;
  for (uint32_t high = 0; high < 0x10000; ++high) {
    for (const uint32_t low : lows) {
      patterns.push_back(type == ScalarType::kFp32 ? high << 16 | low : high);
    }
  }
  return patterns;
}

std::vector<uint8_t> Store(ScalarType type, const std::vector<uint32_t>& patterns) {
  std::vector<uint8_t> bytes(patterns.size() * BytesOf(type));
  for (size_t i = 0; i < patterns.size(); ++i) {
    std::memcpy(bytes.data() + i * BytesOf(type), &patterns[i], BytesOf(type));  // little-endian
  }
  return bytes;
}

uint32_t Expected(ScalarType from, ScalarType to, uint32_t bits) {
  if (from == to) return bits;
  const auto half = static_cast<uint16_t>(bits);
  const float value = from == ScalarType::kFp32   ? std::bit_cast<float>(bits)
                      : from == ScalarType::kFp16 ? FloatFromFp16(half)
                                                  : FloatFromBf16(half);
  if (to == ScalarType::kFp32) return std::bit_cast<uint32_t>(value);
  return to == ScalarType::kFp16 ? Fp16FromFloat(value) : Bf16FromFloat(value);
}

TEST(ConvertFloats, GivesTheBitsOfTheScalarForm) {
  ForEachTarget([] {
    for (const ScalarType from : kTypes) {
      const std::vector<uint32_t> patterns = Patterns(from);
      const std::vector<uint8_t> source = Store(from, patterns);
      for (const ScalarType to : kTypes) {
        std::vector<uint8_t> result(patterns.size() * BytesOf(to));
        ConvertFloats(source.data(), from, static_cast<int64_t>(patterns.size()), to,
                      result.data());
        for (size_t i = 0; i < patterns.size(); ++i) {
          uint32_t bits = 0;
          std::memcpy(&bits, result.data() + i * BytesOf(to), BytesOf(to));
          ASSERT_EQ(bits, Expected(from, to, patterns[i]))
              << "type " << static_cast<int>(from) << " to " << static_cast<int>(to) << ", bits "
              << patterns[i];
        }
      }
    }
  });
}

TEST(ConvertFloats, TakesAnyCountAtAnyAddressAndWritesNoMore) {
  const std::vector<uint32_t> patterns = {0x3C00, 0x0001, 0xFBFF, 0x7C01, 0x4248, 0x8000};
  ForEachTarget([&] {
    for (const ScalarType from : kTypes) {
      for (const ScalarType to : kTypes) {
        for (size_t count = 0; count <= 35; ++count) {
          std::vector<uint32_t> bits;
          for (size_t i = 0; i < count; ++i) bits.push_back(patterns[i % patterns.size()] * 0x8001);
          for (uint32_t& b : bits) b = from == ScalarType::kFp32 ? b : b & 0xFFFF;
          std::vector<uint8_t> source = Store(from, bits);
          source.insert(source.begin(), 0xAA);  // an odd address
          std::vector<uint8_t> result(1 + count * BytesOf(to) + 1, 0xBB);
          ConvertFloats(source.data() + 1, from, static_cast<int64_t>(count), to,
                        result.data() + 1);
          EXPECT_EQ(result.front(), 0xBB);
          EXPECT_EQ(result.back(), 0xBB);
          for (size_t i = 0; i < count; ++i) {
            uint32_t got = 0;
            std::memcpy(&got, result.data() + 1 + i * BytesOf(to), BytesOf(to));
            ASSERT_EQ(got, Expected(from, to, bits[i])) << i << " of " << count;
          }
        }
      }
    }
  });
}

}  // namespace
}  // namespace baton::kernels
