#include <algorithm>
#include <cstring>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "tests/gpu/attention/prefill_case.h"
#include "tests/gpu/support/compare.h"
#include "tests/gpu/support/device.h"

namespace baton::kernels::cuda {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinity = std::numeric_limits<float>::infinity();

class PrefillTest : public GpuTest {};

// Relative to the norm of a row and head. In units of the type's roundoff u: the weights are
// rounded (u of each, independent), the result is rounded (u); gathered values are rounded (u), and
// gathered keys too, which moves a score by at most u |q||k| / sqrt(head_dim), about sqrt(head_dim)
// u, and typically u times the score's own deviation of about 1: 2 u of the weight. These errors
// are independent, so a row's norm sees about their root sum of squares; the bound is their sum.
double Bound(const PrefillCaseShape& shape) {
  const double u = UnitRoundoff(shape.type);
  return PrefillNeedsGather(shape.type, shape.formats) ? 6.0 * u : 3.0 * u;
}

void ExpectRowsClose(const std::vector<float>& actual, const std::vector<float>& expected,
                     const PrefillCaseShape& shape) {
  ASSERT_EQ(actual.size(), expected.size());
  for (size_t i = 0; i < actual.size(); i += shape.head_dim) {
    const size_t width = static_cast<size_t>(shape.q_heads) * shape.head_dim;
    ASSERT_TRUE(NormClose({actual.data() + i, static_cast<size_t>(shape.head_dim)},
                          {expected.data() + i, static_cast<size_t>(shape.head_dim)}, Bound(shape)))
        << "row " << i / width << " head " << i % width / shape.head_dim;
  }
}

void ExpectMatches(PrefillCase& c, const PrefillCase::Chunks& chunks) {
  ExpectRowsClose(c.Run(chunks), c.Reference(chunks), c.shape());
  EXPECT_TRUE(c.repeats());
}

TEST_F(PrefillTest, OneTokenReturnsItsValue) {
  for (const int head_dim : {64, 128}) {
    PrefillCase c({.head_dim = head_dim}, 1);
    const auto out = c.Run({{0, 1}});
    for (int head = 0; head < 4; ++head) {
      const auto v = c.cache().Decode(1, KvTensor::kValue, head / 2, 0);
      for (int d = 0; d < head_dim; ++d) ASSERT_EQ(out[head * head_dim + d], v[d]) << head;
    }
  }
}

TEST_F(PrefillTest, Shapes) {
  for (const ActivationType type : {ActivationType::kFp16, ActivationType::kBf16}) {
    const KvFormat format = type == ActivationType::kFp16 ? KvFormat::kFp16 : KvFormat::kBf16;
    for (const int head_dim : {64, 128}) {
      for (const int page_tokens : {16, 32, 64, 128}) {
        for (const int tokens : {2, 63, 128, 129, 193, 300}) {
          const std::pair<int, int> heads[] = {{1, 1}, {6, 2}, {5, 1}, {8, 2}};
          const auto [q_heads, kv_heads] = heads[(page_tokens / 16 + tokens) % 4];
          PrefillCase c({.q_heads = q_heads,
                         .kv_heads = kv_heads,
                         .head_dim = head_dim,
                         .page_tokens = page_tokens,
                         .formats = {format, format},
                         .type = type},
                        tokens);
          SCOPED_TRACE(testing::Message()
                       << Name(type) << " head_dim " << head_dim << " page " << page_tokens
                       << " tokens " << tokens << " heads " << q_heads << "/" << kv_heads);
          ExpectMatches(c, {{0, tokens}});
          if (HasFatalFailure()) break;
        }
      }
    }
  }
}

TEST_F(PrefillTest, EveryFormat) {
  for (const ActivationType type : {ActivationType::kFp16, ActivationType::kBf16}) {
    for (const int head_dim : {64, 128}) {
      for (const KvFormats formats : kAllFormatPairs) {
        PrefillCase c({.head_dim = head_dim, .page_tokens = 32, .formats = formats, .type = type},
                      200);
        SCOPED_TRACE(testing::Message()
                     << Name(type) << " head_dim " << head_dim << " " << KvFormatsName(formats));
        ExpectMatches(c, {{0, 200}});
        ExpectMatches(c, {{150, 50}});
      }
    }
  }
}

TEST_F(PrefillTest, RaggedBatchOfChunks) {
  const PrefillCase::Chunks chunks = {{0, 1},   {5, 0},    {31, 2},   {64, 133}, {199, 1},
                                      {0, 200}, {380, 20}, {128, 64}, {127, 2}};
  for (const int head_dim : {64, 128}) {
    for (const KvFormat format : {KvFormat::kFp16, KvFormat::kInt8}) {
      for (const int page_tokens : {16, 64}) {
        PrefillCase c({.q_heads = 8,
                       .kv_heads = 2,
                       .head_dim = head_dim,
                       .page_tokens = page_tokens,
                       .formats = {format, format}},
                      400);
        SCOPED_TRACE(testing::Message()
                     << head_dim << " " << KvFormatName(format) << " " << page_tokens);
        ExpectMatches(c, chunks);
      }
    }
  }
}

TEST_F(PrefillTest, SharesTilesAmongHeads) {
  for (const int head_dim : {64, 128}) {
    for (const int q_heads : {2, 4, 8, 16, 32}) {
      PrefillCase c({.q_heads = q_heads, .kv_heads = 1, .head_dim = head_dim}, 150);
      SCOPED_TRACE(testing::Message() << head_dim << " " << q_heads);
      ExpectMatches(c, {{140, 10}, {0, 3}, {77, 33}});
    }
  }
}

TEST_F(PrefillTest, SlidingWindow) {
  for (const int head_dim : {64, 128}) {
    for (const int window : {1, 2, 17, 64, 128, 129, 300, 1000}) {
      for (const KvFormat format : {KvFormat::kFp16, KvFormat::kInt4}) {
        PrefillCase c({.head_dim = head_dim, .formats = {format, format}, .window = window}, 450);
        SCOPED_TRACE(testing::Message()
                     << head_dim << " " << window << " " << KvFormatName(format));
        ExpectMatches(c, {{0, 300}, {300, 150}, {449, 1}});
      }
    }
  }
}

TEST_F(PrefillTest, WindowDoesNotReadPagesBeforeIt) {
  for (const KvFormat format : {KvFormat::kFp16, KvFormat::kInt8}) {
    PrefillCase c({.formats = {format, format}, .window = 50}, 400);
    const auto expected = c.Reference({{300, 100}});
    for (int page = 0; page < 15; ++page) {
      c.cache().pages[page] = -1'000'000'000;  // given back: token 251 is the first seen
    }
    ExpectRowsClose(c.Run({{300, 100}}), expected, c.shape());
  }
}

TEST_F(PrefillTest, LongContext) {
  const int tokens = 4000;
  for (const int head_dim : {64, 128}) {
    PrefillCase c({.q_heads = 4, .kv_heads = 1, .head_dim = head_dim, .page_tokens = 64}, tokens);
    // The reference computes some rows only; the kernel all of them.
    const int step = 397;
    const auto out = c.Run({{tokens - 2000, 2000}});
    PrefillCase::Chunks rows;
    std::vector<float> some;
    for (int i = 0; i < 2000; i += step) {
      rows.emplace_back(tokens - 2000 + i, 1);
      some.insert(some.end(), out.begin() + static_cast<int64_t>(i) * c.width(),
                  out.begin() + static_cast<int64_t>(i + 1) * c.width());
    }
    ExpectRowsClose(some, c.Reference(rows), c.shape());
  }
}

// Few rows behind a long prefix: their tokens are split among many blocks and merged.
TEST_F(PrefillTest, SplitsOfALongPrefix) {
  const int tokens = 1900;
  for (const ActivationType type : {ActivationType::kFp16, ActivationType::kBf16}) {
    for (const KvFormat format : {KvFormat::kFp16, KvFormat::kBf16, KvFormat::kInt8}) {
      for (const int head_dim : {64, 128}) {
        for (const int window : {0, 1000}) {
          PrefillCase c({.head_dim = head_dim,
                         .page_tokens = 32,
                         .formats = {format, format},
                         .window = window,
                         .type = type},
                        tokens);
          SCOPED_TRACE(testing::Message() << Name(type) << " " << KvFormatName(format) << " "
                                          << head_dim << " window " << window);
          ExpectMatches(c, {{tokens - 5, 5}, {0, 2}, {1200, 3}});
        }
      }
    }
  }
}

TEST_F(PrefillTest, NotFiniteValuesInSplits) {
  const int tokens = 1500;
  const int bad = 1495;
  for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
    PrefillCase c({}, tokens);
    for (int head = 0; head < 2; ++head) {
      auto* codes = reinterpret_cast<uint16_t*>(c.cache().Codes(1, tensor, head, bad));
      codes[7] = 0x7E00;
    }
    SCOPED_TRACE(static_cast<int>(tensor));
    ExpectMatches(c, {{tokens - 10, 10}});
  }
}

TEST_F(PrefillTest, LargeScores) {
  for (const int head_dim : {64, 128}) {
    PrefillCase c({.head_dim = head_dim}, 200);
    for (float& q : c.queries())
      q *= 256.0f;  // exact in fp16; weights are 0 or 1 almost everywhere
    const auto actual = c.Run({{0, 200}});
    const auto expected = c.Reference({{0, 200}});
    // A score of some hundreds rounds to 2^-15 in fp32: weights of close competitors differ by
    // that.
    EXPECT_TRUE(NormClose(actual, expected, 4 * UnitRoundoff(ActivationType::kFp16)));
  }
}

// What a masked token holds does not matter; what a visible one holds shows at the reference's
// positions.
TEST_F(PrefillTest, NotFiniteValuesOfOneToken) {
  const int bad = 137;
  for (const float value : {kNan, kInfinity, -kInfinity}) {
    for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
      for (const int head_dim : {64, 128}) {
        PrefillCase c({.q_heads = 4, .head_dim = head_dim}, 300);
        for (int head = 0; head < 2; ++head) {
          auto x = c.cache().Decode(1, tensor, head, bad);
          x[3] = x[head_dim - 1] = value;
          auto* codes = reinterpret_cast<uint16_t*>(c.cache().Codes(1, tensor, head, bad));
          for (const int d : {3, head_dim - 1}) {  // past the encoder, which saturates
            codes[d] = ToActivations(ActivationType::kFp16, {&x[d], 1})[0];
          }
        }
        SCOPED_TRACE(testing::Message()
                     << value << " " << static_cast<int>(tensor) << " " << head_dim);
        ExpectMatches(c, {{0, 300}, {100, 80}});
      }
    }
  }
}

TEST_F(PrefillTest, NanGroupsOfEveryFormat) {
  const int bad = 37;
  for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
    for (const KvFormats formats : kAllFormatPairs) {
      PrefillCase c({.formats = formats}, 60);
      const std::vector<float> nan(128, kNan);
      for (int head = 0; head < 2; ++head) c.cache().Encode(1, tensor, head, bad, nan.data());
      SCOPED_TRACE(testing::Message() << KvFormatsName(formats) << static_cast<int>(tensor));
      ExpectMatches(c, {{0, 60}});
    }
  }
}

TEST_F(PrefillTest, NanQueryStaysInItsRow) {
  PrefillCase c({}, 200);
  c.queries()[static_cast<size_t>(70) * c.width() + 5] = kNan;
  ExpectMatches(c, {{0, 200}});
}

TEST_F(PrefillTest, UnwrittenTailOfTheLastPageHasNoInfluence) {
  PrefillCase c({.head_dim = 64, .page_tokens = 64}, 70);
  const auto before = c.Run({{60, 10}});
  for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
    for (int t = 70; t < 128; ++t) std::memset(c.cache().Codes(1, tensor, 0, t), 0xFF, 128);
  }
  const auto after = c.Run({{60, 10}});
  EXPECT_EQ(std::memcmp(before.data(), after.data(), before.size() * sizeof(float)), 0);
}

}  // namespace
}  // namespace baton::kernels::cuda
