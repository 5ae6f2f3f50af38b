#include <cmath>
#include <limits>
#include <vector>

#include "tests/gpu/attention/decode_case.h"
#include "tests/gpu/support/compare.h"
#include "tests/gpu/support/device.h"

namespace baton::kernels::cuda {
namespace {

using DecodeTest = GpuTest;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

// A probability times its V scale is rounded to 11 bits (relative error 2^-12 each, independent, so
// the norm's error is below it), the result to the type's; scores are exact but for fp32. Twice
// that.
double Bound(ActivationType type) { return 2.0 * (0x1p-12 + UnitRoundoff(type)); }

void ExpectMatches(const DecodeCaseShape& shape, const char* what) {
  DecodeCase c(shape);
  SCOPED_TRACE(testing::Message() << what << ": " << KvFormatsName(shape.formats) << " "
                                  << Name(shape.type) << " heads " << shape.q_heads << "/"
                                  << shape.kv_heads << " x " << shape.head_dim << " page "
                                  << shape.page_tokens << " window " << shape.window);
  EXPECT_TRUE(NormClose(c.Run(2), c.Reference(), Bound(shape.type)));
}

TEST_F(DecodeTest, EveryFormatHeadDimAndPageSize) {
  int round = 0;
  for (const KvFormats formats : Axis(kAllFormatPairs)) {
    for (const int head_dim : {64, 128}) {
      for (const int page_tokens : Axis({16, 32, 64, 128})) {
        ++round;
        ExpectMatches({.head_dim = head_dim,
                       .page_tokens = page_tokens,
                       .formats = formats,
                       .type = round % 2 == 0 ? ActivationType::kFp16 : ActivationType::kBf16,
                       .lengths = {1, 31, 200, 333}},
                      "formats");
      }
    }
  }
}

TEST_F(DecodeTest, HeadGroups) {
  const std::pair<int, int> heads[] = {{1, 1}, {2, 2}, {6, 2}, {16, 2}, {12, 1}, {17, 1}, {32, 8}};
  for (const auto& [q_heads, kv_heads] : heads) {
    for (const KvFormat format : {KvFormat::kFp16, KvFormat::kInt4}) {
      ExpectMatches({.q_heads = q_heads,
                     .kv_heads = kv_heads,
                     .page_tokens = 32,
                     .formats = {format, format},
                     .lengths = {129, 64}},
                    "heads");
    }
  }
}

TEST_F(DecodeTest, RaggedBatchesSplitAndNot) {
  for (const int min_chunks : {1, 8, 1000}) {
    for (const KvFormat format : {KvFormat::kFp16, KvFormat::kFp8E4m3, KvFormat::kInt4}) {
      ExpectMatches({.formats = {format, format},
                     .lengths = {1, 16, 17, 0, 1500, 32, 15, 700, 33},
                     .min_chunks = min_chunks},
                    "ragged");
    }
  }
}

TEST_F(DecodeTest, LongSequence) {
  for (const KvFormat format : {KvFormat::kFp16, KvFormat::kInt8}) {
    ExpectMatches({.q_heads = 4,
                   .kv_heads = 1,
                   .page_tokens = 128,
                   .formats = {format, format},
                   .lengths = {20000}},
                  "long");
  }
}

TEST_F(DecodeTest, SlidingWindow) {
  for (const int window : Axis({1, 15, 16, 17, 100, 5000})) {
    for (const KvFormat format : {KvFormat::kFp16, KvFormat::kInt8}) {
      ExpectMatches({.formats = {format, format}, .window = window, .lengths = {1, 30, 333, 96}},
                    "window");
    }
  }
}

TEST_F(DecodeTest, WindowDoesNotReadPagesBeforeIt) {
  for (const KvFormat format : {KvFormat::kFp16, KvFormat::kInt4}) {
    DecodeCase c({.formats = {format, format}, .window = 40, .lengths = {200}});
    const auto expected = c.RunCodes();
    for (int page = 0; page < (200 - 40) / 16; ++page) c.table()[page] = -1'000'000'000;
    EXPECT_EQ(c.RunCodes(), expected);
  }
}

TEST_F(DecodeTest, SameBitsFromRunToRun) {
  for (const KvFormat format : {KvFormat::kFp16, KvFormat::kFp8E4m3}) {
    DecodeCase c({.formats = {format, format}, .lengths = {3000, 17, 900}});
    const auto first = c.RunCodes();
    for (int i = 0; i < 5; ++i) EXPECT_EQ(c.RunCodes(3), first);
  }
}

TEST_F(DecodeTest, ManyWorksInOneBlock) {
  ExpectMatches({.q_heads = 32,
                 .kv_heads = 8,
                 .formats = {KvFormat::kFp8E4m3, KvFormat::kFp8E4m3},
                 .lengths = std::vector<int32_t>(60, 70)},
                "many");
}

// A NaN or infinity in a sequence's past makes its head NaN, whatever the format; elsewhere it has
// no influence.
TEST_F(DecodeTest, NanReachesItsHeadOnly) {
  for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
    for (const KvFormats formats : Axis(kAllFormatPairs)) {
      DecodeCase c({.formats = formats, .lengths = {60, 50, 30}});
      const std::vector<float> nan(128, kNan);
      c.cache().Encode(1, tensor, 1, c.CachePosition(1, 40), nan.data());
      SCOPED_TRACE(KvFormatsName(formats));
      EXPECT_TRUE(NormClose(c.Run(), c.Reference(), Bound(ActivationType::kFp16)));
    }
  }
}

TEST_F(DecodeTest, UnwrittenTailHasNoInfluence) {
  for (const KvFormats formats : Axis(kAllFormatPairs)) {
    DecodeCase c({.page_tokens = 64, .formats = formats, .lengths = {70}});
    const auto before = c.RunCodes();
    for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
      for (int head = 0; head < 2; ++head) {
        for (int t = 70; t < 128; ++t) {
          std::memset(c.cache().Codes(1, tensor, head, t), 0xFF,
                      KvCodeBytes(tensor == KvTensor::kKey ? formats.k : formats.v, 128));
          std::memset(c.cache().Scale(1, tensor, head, t), 0xFF,
                      KvScaleBytes(tensor == KvTensor::kKey ? formats.k : formats.v));
        }
      }
    }
    EXPECT_EQ(c.RunCodes(), before) << KvFormatsName(formats);
  }
}

TEST_F(DecodeTest, NonFiniteAndHugeQueries) {
  for (const KvFormat format : {KvFormat::kFp16, KvFormat::kBf16, KvFormat::kInt8}) {
    for (const ActivationType type : {ActivationType::kFp16, ActivationType::kBf16}) {
      DecodeCase c({.formats = {format, format}, .type = type, .lengths = {50, 40, 45}});
      c.queries()[3] = kNan;
      const float huge = type == ActivationType::kFp16 ? 60000.0f : 1e20f;
      for (int i = 0; i < c.width(); ++i) c.queries()[c.width() + i] *= huge / 10.0f;
      c.queries() = Rounded(type, c.queries());
      SCOPED_TRACE(testing::Message() << KvFormatName(format) << " " << Name(type));
      // Weights are 0 or 1 there, but for near ties: fp32 scores of that size have no fractions.
      EXPECT_TRUE(NormClose(c.Run(), c.Reference(), 0.01));
    }
  }
}

// Scales at both ends of fp16: probabilities times scales must neither overflow nor vanish.
TEST_F(DecodeTest, ExtremeScales) {
  for (const KvFormat format : {KvFormat::kFp8E4m3, KvFormat::kInt8, KvFormat::kInt4}) {
    for (const float size : {1e-6f, 1e-3f, 5e4f}) {
      DecodeCase c(
          {.formats = {format, format}, .type = ActivationType::kBf16, .lengths = {50, 333}});
      for (int head = 0; head < 2; ++head) {
        for (int t = 0; t < 336; ++t) {
          auto x = RandomFloats(128, 900 + t, t % 3 == 0 ? 0.01f * size : size);
          if (t == 7) std::fill(x.begin(), x.end(), 0.0f);
          c.cache().Encode(1, KvTensor::kValue, head, t, x.data());
        }
      }
      SCOPED_TRACE(testing::Message() << KvFormatName(format) << " " << size);
      EXPECT_TRUE(NormClose(c.Run(), c.Reference(), Bound(ActivationType::kBf16)));
    }
  }
}

TEST_F(DecodeTest, RefusalsNameTheField) {
  DecodeAttentionParams params;
  params.kv.layout = KvPageLayout({1, 2, 80}, {}, 16);
  EXPECT_STREQ(DecodeAttentionProblem(params), "decode attention: head_dim, expected 64 or 128");
  params.kv.layout = KvPageLayout({1, 2, 64}, {KvFormat::kFp16, KvFormat::kInt8}, 16);
  EXPECT_NE(DecodeAttentionProblem(params), nullptr);
  EXPECT_EQ(DecodeAttention(params), cudaErrorInvalidValue);
  params.kv.layout = KvPageLayout({1, 2, 64}, {}, 16);
  params.q_heads = 3;
  EXPECT_STREQ(DecodeAttentionProblem(params),
               "decode attention: q_heads, expected a multiple of kv_heads");
  params.q_heads = 4;
  params.config = {.warps = 16, .stages = 30, .chunk_tokens = 16};
  EXPECT_STREQ(
      DecodeAttentionProblem(params),
      "decode attention: config, expected one of ChooseDecode for these formats and heads");
}

}  // namespace
}  // namespace baton::kernels::cuda
