#include "kernels/attention/attention.h"

#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "tests/kernels/attention/attention_case.h"

namespace baton::kernels {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// |score| <= |q||k| / sqrt(head_dim), about sqrt(head_dim) here; a score's chain of FMAs errs by at
// most head_dim 2^-24 of the sum of magnitudes (about 0.64 sqrt(head_dim) after scaling), typically
// by its square root. Errors of scores are relative errors of weights, and values are of the order
// of one: the output errs by less than 2^-24 * (sqrt(head_dim) * head_dim + tokens), which is far
// above what is seen and far below any indexing mistake.
double Bound(int head_dim, int tokens, double value) {
  return 0x1p-24 * (std::sqrt(head_dim) * head_dim + tokens + 32) * (1.0 + value);
}

void ExpectClose(const std::vector<float>& actual, const std::vector<float>& expected, int head_dim,
                 int tokens) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); ++i) {
    if (std::isnan(expected[i])) {
      ASSERT_TRUE(std::isnan(actual[i])) << i;
    } else {
      ASSERT_NEAR(actual[i], expected[i], Bound(head_dim, tokens, std::fabs(expected[i]))) << i;
    }
  }
}

TEST(AttentionTest, OneTokenReturnsItsValue) {
  ForEachTarget([] {
    AttentionCase c({.q_heads = 4, .kv_heads = 2, .head_dim = 48}, 1);
    const auto out = c.Run({{0, 1}}, 1);
    for (int head = 0; head < 4; ++head) {
      const auto v = c.cache().Decode(1, KvTensor::kValue, head / 2, 0);
      for (int d = 0; d < 48; ++d) EXPECT_EQ(out[head * 48 + d], v[d]);
    }
  });
}

TEST(AttentionTest, MatchesReferenceOverShapes) {
  for (const int head_dim : {16, 48, 64, 80, 128, 256}) {
    for (const int page_tokens : {16, 32, 64, 128}) {
      const int tokens = page_tokens + 53;
      const std::pair<int, int> heads[] = {{1, 1}, {6, 2}, {5, 1}, {4, 4}};
      const auto [q_heads, kv_heads] = heads[(head_dim / 16 + page_tokens) % 4];
      AttentionCase c({.q_heads = q_heads,
                       .kv_heads = kv_heads,
                       .head_dim = head_dim,
                       .page_tokens = page_tokens},
                      tokens);
      const auto expected = c.Run({{0, tokens}}, 0);
      ForEachTarget([&] {
        SCOPED_TRACE(testing::Message() << "head_dim " << head_dim << " page " << page_tokens);
        ExpectClose(c.Run({{0, tokens}}, 2), expected, head_dim, tokens);
      });
    }
  }
}

TEST(AttentionTest, MatchesReferenceInEveryFormat) {
  for (const KvFormats formats : kAllFormatPairs) {
    AttentionCase c({.head_dim = 80, .page_tokens = 32, .formats = formats}, 75);
    const auto expected = c.Run({{0, 75}}, 0);
    ForEachTarget([&] {
      SCOPED_TRACE(KvFormatsName(formats));
      ExpectClose(c.Run({{0, 75}}, 1), expected, 80, 75);
    });
  }
}

TEST(AttentionTest, RaggedBatch) {
  const std::vector<std::pair<int, int>> chunks = {{0, 1}, {5, 0}, {31, 2}, {64, 33}, {99, 1}};
  AttentionCase c({.q_heads = 6, .kv_heads = 2, .head_dim = 64, .page_tokens = 16}, 100);
  const auto expected = c.Run(chunks, 0);
  ForEachTarget([&] {
    for (const int parts : {1, 2, 3, 16}) ExpectClose(c.Run(chunks, parts), expected, 64, 100);
  });
}

TEST(AttentionTest, SlidingWindow) {
  for (const int window : {1, 2, 15, 16, 17, 40, 1000}) {
    AttentionCase c({.head_dim = 48, .window = window}, 90);
    const auto expected = c.Run({{0, 90}}, 0);
    ForEachTarget([&] {
      SCOPED_TRACE(window);
      ExpectClose(c.Run({{0, 90}}, 2), expected, 48, 90);
    });
  }
}

TEST(AttentionTest, WindowDoesNotReadPagesBeforeIt) {
  AttentionCase c({.head_dim = 48, .window = 20}, 90);
  const auto expected = c.Run({{60, 30}}, 1);
  c.cache().pages[0] = c.cache().pages[1] =
      -1'000'000'000;  // given back: token 41 is the first seen
  EXPECT_TRUE(SameBits(c.Run({{60, 30}}, 1), expected));
}

TEST(AttentionTest, LongContextCrossesSpans) {
  const int tokens = 2 * kAttentionSpanTokens + 100;
  for (const int window : {0, 1500}) {
    AttentionCase c(
        {.q_heads = 2, .kv_heads = 1, .head_dim = 16, .page_tokens = 128, .window = window},
        tokens);
    const std::vector<std::pair<int, int>> chunks = {
        {kAttentionSpanTokens - 2, 4}, {tokens - 3, 3}, {2 * kAttentionSpanTokens - 1, 2}};
    const auto expected = c.Run(chunks, 0);
    ForEachTarget([&] { ExpectClose(c.Run(chunks, 2), expected, 16, tokens); });
  }
}

// A NaN or infinity in the future of a row has no influence; in its past it makes the row NaN.
TEST(AttentionTest, MaskedNanHasNoInfluence) {
  const int bad = 37;
  for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
    for (const KvFormats formats : kAllFormatPairs) {
      AttentionCase c({.head_dim = 64, .formats = formats}, 60);
      ForEachTarget([&] {
        c.cache().FillRandom(1, 60, 51);
        const auto clean = c.Run({{0, 60}}, 1);
        const std::vector<float> nan(64, kNan);
        for (int head = 0; head < 2; ++head) c.cache().Encode(1, tensor, head, bad, nan.data());
        const auto dirty = c.Run({{0, 60}}, 1);
        const size_t split = static_cast<size_t>(bad) * c.width();
        ASSERT_EQ(std::memcmp(clean.data(), dirty.data(), split * sizeof(float)), 0);
        for (size_t i = split; i < dirty.size(); ++i) ASSERT_TRUE(std::isnan(dirty[i])) << i;
      });
    }
  }
}

TEST(AttentionTest, UnwrittenTailOfTheLastPageHasNoInfluence) {
  AttentionCase c({.head_dim = 64, .page_tokens = 64}, 70);
  ForEachTarget([&] {
    const auto before = c.Run({{60, 10}}, 1);
    for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
      for (int t = 70; t < 128; ++t) std::memset(c.cache().Codes(1, tensor, 0, t), 0xFF, 128);
    }
    EXPECT_TRUE(SameBits(c.Run({{60, 10}}, 1), before));
  });
}

TEST(AttentionTest, LargeScoresDoNotOverflow) {
  AttentionCase c({.head_dim = 64}, 50);
  for (float& q : c.queries()) q *= 1000.0f;  // weights are 0 or 1 almost everywhere
  const auto expected = c.Run({{0, 50}}, 0);
  ForEachTarget([&] {
    const auto actual = c.Run({{0, 50}}, 1);
    for (size_t i = 0; i < actual.size(); ++i) ASSERT_NEAR(actual[i], expected[i], 0.05) << i;
  });
}

}  // namespace
}  // namespace baton::kernels
