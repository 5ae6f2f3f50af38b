#include <algorithm>
#include <random>
#include <vector>

#include "gtest/gtest.h"
#include "tests/kernels/attention/attention_case.h"

namespace baton::kernels {
namespace {

std::vector<std::pair<int, int>> Chunks(int tokens, int size) {
  std::vector<std::pair<int, int>> chunks;
  for (int first = 0; first < tokens; first += size) {
    chunks.emplace_back(first, std::min(size, tokens - first));
  }
  return chunks;
}

TEST(AttentionDeterminismTest, ChunkingAndPartsDoNotShow) {
  for (const KvFormats formats : kAllFormatPairs) {
    AttentionCase c({.head_dim = 80, .formats = formats}, 100);
    ForEachTarget([&] {
      SCOPED_TRACE(KvFormatsName(formats));
      const auto whole = c.Run({{0, 100}}, 1);
      for (const int size : {1, 2, 7, 33, 99}) {
        for (const int parts : {1, 3}) {
          ASSERT_TRUE(SameBits(c.Run(Chunks(100, size), parts), whole)) << size << " " << parts;
        }
      }
    });
  }
}

TEST(AttentionDeterminismTest, PageSizeDoesNotShow) {
  for (const KvFormats formats : kAllFormatPairs) {
    ForEachTarget([&] {
      std::vector<float> first;
      for (const int page_tokens : {16, 32, 64, 128}) {
        AttentionCase c({.q_heads = 3,
                         .kv_heads = 1,
                         .head_dim = 48,
                         .page_tokens = page_tokens,
                         .formats = formats},
                        140);
        const auto out = c.Run({{0, 140}}, 2);
        if (first.empty()) first = out;
        ASSERT_TRUE(SameBits(out, first)) << page_tokens;
      }
    });
  }
}

// Decode, one row at a time, against prefill: every head dimension and group size takes other
// register tiles.
TEST(AttentionDeterminismTest, DecodeEqualsPrefill) {
  for (const int head_dim : {16, 48, 64, 80, 128, 256}) {
    for (const int group : {1, 2, 3, 4, 7, 8}) {
      AttentionCase c({.q_heads = group,
                       .kv_heads = 1,
                       .head_dim = head_dim,
                       .formats = {KvFormat::kInt8, KvFormat::kInt8}},
                      70);
      ForEachTarget([&] {
        const auto whole = c.Run({{0, 70}}, 1);
        ASSERT_TRUE(SameBits(c.Run(Chunks(70, 1), 3), whole)) << head_dim << " " << group;
      });
    }
  }
}

TEST(AttentionDeterminismTest, WindowAndSpans) {
  const int tokens = kAttentionSpanTokens + 200;
  for (const int window : {0, 1100}) {
    AttentionCase c(
        {.q_heads = 2, .kv_heads = 1, .head_dim = 16, .page_tokens = 64, .window = window}, tokens);
    ForEachTarget([&] {
      const auto whole = c.Run({{0, tokens}}, 1);
      for (const int size : {1, 1000}) {
        ASSERT_TRUE(SameBits(c.Run(Chunks(tokens, size), 2), whole)) << window << " " << size;
      }
    });
  }
}

TEST(AttentionDeterminismTest, RandomBatches) {
  const uint32_t seed = 77;
  std::mt19937 random(seed);
  const int tokens = 200;
  AttentionCase c({.q_heads = 4,
                   .kv_heads = 2,
                   .head_dim = 64,
                   .page_tokens = 32,
                   .formats = {KvFormat::kInt8, KvFormat::kInt4}},
                  tokens);
  ForEachTarget([&] {
    const auto whole = c.Run({{0, tokens}}, 1);
    for (int round = 0; round < 8; ++round) {
      std::vector<std::pair<int, int>> chunks;
      std::vector<float> expected;
      for (int i = 0; i < 6; ++i) {
        const int first = static_cast<int>(random() % tokens);
        const int count = static_cast<int>(random() % (tokens - first)) + 1;
        chunks.emplace_back(first, count);
        expected.insert(expected.end(), whole.begin() + first * c.width(),
                        whole.begin() + (first + count) * c.width());
      }
      ASSERT_TRUE(SameBits(c.Run(chunks, 1 + round % 4), expected)) << "seed " << seed;
    }
  });
}

}  // namespace
}  // namespace baton::kernels
