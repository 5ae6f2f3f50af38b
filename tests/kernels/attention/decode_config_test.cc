#include "kernels/attention/decode_config.h"

#include "gtest/gtest.h"
#include "tests/kernels/kv_page/test_cache.h"

namespace baton::kernels {
namespace {

constexpr int kSmCount = 132;
// What a block may ask for, and what the blocks of an SM share.
constexpr size_t kBlockLimit = 227 * 1024;
constexpr size_t kSmLimit = 228 * 1024;

TEST(DecodeConfigTest, BlocksFitTheirShareOfAnSm) {
  for (const KvFormats formats : kAllFormatPairs) {
    ASSERT_GT(DecodeChunkTokens(formats), 0);
    for (const int head_dim : {64, 128}) {
      for (const auto& [q_heads, kv_heads] :
           {std::pair{32, 8}, {32, 32}, {64, 8}, {16, 1}, {28, 4}}) {
        for (const int sequences : {1, 16, 64, 512}) {
          const DecodeProblem problem{formats, head_dim, q_heads, kv_heads, sequences, kSmCount};
          const DecodeConfig config = ChooseDecode(problem);
          EXPECT_EQ(config.warps * config.blocks_per_sm, 16);  // 128 registers a thread
          EXPECT_GE(config.stages, 1);
          const size_t bytes = DecodeSharedBytes(config, problem);
          EXPECT_LE(bytes, kBlockLimit);
          EXPECT_LE((bytes + 1024) * config.blocks_per_sm, kSmLimit);
          EXPECT_EQ(config.chunk_tokens, DecodeChunkTokens(formats));
        }
      }
    }
  }
}

TEST(DecodeConfigTest, BlocksByNumberOfItems) {
  const KvFormats fp8{KvFormat::kFp8E4m3, KvFormat::kFp8E4m3};
  EXPECT_EQ(ChooseDecode({fp8, 128, 32, 8, 1, kSmCount}).warps, 8);
  EXPECT_EQ(ChooseDecode({fp8, 128, 32, 8, 1, kSmCount, 32768}).warps, 16);
  EXPECT_EQ(ChooseDecode({fp8, 128, 32, 8, 16, kSmCount}).warps, 16);
  EXPECT_EQ(ChooseDecode({fp8, 128, 32, 8, 64, kSmCount}).warps, 4);
}

TEST(DecodeConfigTest, ShapeOfTheGrid) {
  const DecodeProblem problem{{}, 128, 12, 1, 3, kSmCount};
  const DecodeConfig config = ChooseDecode(problem);
  const DecodePlanShape shape = DecodeShape(config, problem);
  EXPECT_EQ(shape.blocks, kSmCount * config.blocks_per_sm);
  EXPECT_EQ(shape.tiles, 2);
  EXPECT_EQ(shape.chunk_tokens, config.chunk_tokens);
  EXPECT_GE(shape.min_chunks, config.warps);
}

TEST(DecodeConfigTest, OtherPairsOfFormatsAreRefused) {
  EXPECT_EQ(DecodeChunkTokens({KvFormat::kFp16, KvFormat::kInt8}), 0);
  EXPECT_EQ(DecodeChunkTokens({KvFormat::kInt4, KvFormat::kInt8}), 0);
}

}  // namespace
}  // namespace baton::kernels
