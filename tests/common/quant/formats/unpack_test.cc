// Codes of matrices of several blocks (UnpackInBlocks), on any number of threads, against the
// formats written down one code at a time.
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>
#include <random>
#include <vector>

#include "common/quant/formats/format_reader.h"

namespace baton {
namespace {

// Rows and columns beyond one block and not whole ones.
constexpr int64_t kRows = 2 * kUnpackRows + 32;
constexpr int64_t kColumns = 3 * kUnpackColumns + 40;

struct Words {
  std::vector<uint32_t> words;
  TensorView View(std::vector<int64_t> shape) const {
    return {DataType::kI32, std::move(shape), std::as_bytes(std::span(words))};
  }
};

Words RandomWords(int64_t count, uint32_t seed) {
  std::mt19937 random(seed);
  Words words;
  for (int64_t i = 0; i < count; ++i) words.words.push_back(static_cast<uint32_t>(random()));
  return words;
}

RunParts InParts(int parts) {
  return [parts](const auto& work) {
    for (int part = parts - 1; part >= 0; --part) work(part, parts);
  };
}

// Reads [n, k] of one group a row and compares each code.
template <typename Code>
void ExpectCodes(const std::string& config, const TensorMap& map, int64_t n, int64_t k,
                 const Code& code) {
  const nlohmann::json json = nlohmann::json::parse(config);
  const auto reader = MakeFormatReader(JsonFields(json, ""));
  ASSERT_TRUE(reader.ok()) << reader.status();
  for (const int parts : {1, 2, 5}) {
    const auto weight = (*reader)->Read(ModuleTensors(map, "m"), n, k, InParts(parts));
    ASSERT_TRUE(weight.ok()) << weight.status();
    const QuantizedTensor& t = (*weight)->tensor;
    ASSERT_TRUE(CheckQuantizedTensor(t, "m", InParts(parts)).ok());
    for (int64_t row = 0; row < n; ++row) {
      for (int64_t column = 0; column < k; ++column) {
        ASSERT_EQ(t.codes[static_cast<size_t>(row * k + column)], code(row, column))
            << row << ", " << column << " in " << parts << " parts";
      }
    }
  }
}

TEST(Unpack, GptqOfManyBlocks) {
  const int64_t n = kRows;
  for (const int bits : {2, 3, 4, 8}) {
    const int64_t k = kColumns / 32 * 32 + (bits == 3 ? 0 : 16);
    SCOPED_TRACE(bits);
    const Words codes = RandomWords(k * bits / 32 * n, 1);
    const Words zeros = RandomWords(n * bits / 32, 2);
    const std::vector<std::byte> scales(static_cast<size_t>(n) * 2, std::byte{0x3C});
    const TensorMap map = {{"m.qweight", codes.View({k * bits / 32, n})},
                           {"m.qzeros", zeros.View({1, n * bits / 32})},
                           {"m.scales", {DataType::kF16, {1, n}, scales}}};
    const std::string config = R"({"quant_method":"gptq","checkpoint_format":"gptq_v2","bits":)" +
                               std::to_string(bits) + "}";
    ExpectCodes(config, map, n, k, [&](int64_t row, int64_t column) {
      int code = 0;
      for (int i = 0; i < bits; ++i) {
        const int64_t bit = column * bits + i;
        const uint32_t word = codes.words[static_cast<size_t>(bit / 32 * n + row)];
        code |= static_cast<int>(word >> (bit % 32) & 1) << i;
      }
      return code;
    });
  }
}

TEST(Unpack, AwqOfManyBlocks) {
  constexpr int kNibble[] = {0, 4, 1, 5, 2, 6, 3, 7};  // of output feature 8 c + i
  const int64_t n = kRows;
  const int64_t k = kColumns + 3;
  const Words codes = RandomWords(k * n / 8, 3);
  const Words zeros = RandomWords(n / 8, 4);
  const std::vector<std::byte> scales(static_cast<size_t>(n) * 2, std::byte{0x3C});
  const TensorMap map = {{"m.qweight", codes.View({k, n / 8})},
                         {"m.qzeros", zeros.View({1, n / 8})},
                         {"m.scales", {DataType::kF16, {1, n}, scales}}};
  ExpectCodes(R"({"quant_method":"awq","bits":4,"group_size":-1,"version":"gemm"})", map, n, k,
              [&](int64_t row, int64_t column) {
                const uint32_t word = codes.words[static_cast<size_t>(column * (n / 8) + row / 8)];
                return static_cast<int>(word >> (4 * kNibble[row % 8]) & 15);
              });
}

}  // namespace
}  // namespace baton
