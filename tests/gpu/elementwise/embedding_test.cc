#include <random>

#include "kernels/embedding/cuda.h"
#include "tests/gpu/support/device.h"

namespace baton::kernels::cuda {
namespace {

using EmbeddingTest = GpuTest;

TEST_F(EmbeddingTest, CopiesRowsAndMarksUnknownTokens) {
  for (const int dim : {8, 1000, 4096, 8192}) {
    constexpr int kVocab = 300;
    std::mt19937 random(dim);
    std::vector<uint16_t> table(static_cast<size_t>(kVocab) * dim);
    for (uint16_t& value : table) value = static_cast<uint16_t>(random() & 0x3FFF);
    std::vector<int32_t> tokens = {0, kVocab - 1, -1, kVocab, 1 << 30, 7, 7};
    for (int i = 0; i < 200; ++i) tokens.push_back(static_cast<int32_t>(random() % kVocab));
    const DeviceArray<uint16_t> device_table(table);
    const DeviceArray<int32_t> device_tokens(tokens);
    const DeviceArray<uint16_t> out(tokens.size() * dim);
    ASSERT_CUDA(Embedding({.tokens = device_tokens.data(),
                           .table = device_table.data(),
                           .out = out.data(),
                           .rows = static_cast<int>(tokens.size()),
                           .vocab = kVocab,
                           .dim = dim}));
    const std::vector<uint16_t> rows = out.Download();
    for (size_t row = 0; row < tokens.size(); ++row) {
      const bool known = tokens[row] >= 0 && tokens[row] < kVocab;
      for (int i = 0; i < dim; ++i) {
        const uint16_t expected =
            known ? table[static_cast<size_t>(tokens[row]) * dim + i] : uint16_t{0x7FFF};
        ASSERT_EQ(rows[row * dim + i], expected) << "row " << row << " at " << i;
      }
    }
  }
}

}  // namespace
}  // namespace baton::kernels::cuda
