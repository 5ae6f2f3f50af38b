#include "kernels/rope/rope.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "tests/kernels/kv_page/targets.h"
#include "tests/kernels/kv_page/test_cache.h"

namespace baton::kernels {
namespace {

struct Angles {
  Angles(const std::vector<int32_t>& positions, int pairs, float base = 10000.0f)
      : cos(positions.size() * pairs), sin(cos.size()) {
    std::vector<float> inv_freq(pairs);
    for (int i = 0; i < pairs; ++i) {
      inv_freq[i] = std::pow(base, -static_cast<float>(i) / static_cast<float>(pairs));
    }
    RopeAnglesParams params{.inv_freq = inv_freq.data(),
                            .pairs = pairs,
                            .positions = positions.data(),
                            .rows = static_cast<int>(positions.size()),
                            .cos = cos.data(),
                            .sin = sin.data()};
    RunParts(RopeAngles, params, 3);
  }
  std::vector<float> cos;
  std::vector<float> sin;
};

TEST(RopeTest, AnglesByHand) {
  const Angles angles({0, 1, 100}, 2);
  EXPECT_EQ(angles.cos[0], 1.0f);
  EXPECT_EQ(angles.sin[0], 0.0f);
  EXPECT_NEAR(angles.cos[2], std::cos(1.0), 1e-7);
  EXPECT_NEAR(angles.sin[3], std::sin(0.01), 1e-7);  // 10000^(-1/2) = 1/100
  EXPECT_NEAR(angles.sin[5], std::sin(1.0), 1e-6);
}

// Half-split convention: dimension i turns with i + pairs; a rotation by a right angle swaps them.
TEST(RopeTest, QuarterTurn) {
  std::vector<float> x = {1, 2, 3, 4, 5, 6};  // head_dim 6, 2 pairs, two dimensions pass through
  const std::vector<float> cos(2, 0.0f);
  const std::vector<float> sin(2, 1.0f);
  RopeReference({.x = x.data(),
                 .x_stride = 6,
                 .rows = 1,
                 .heads = 1,
                 .head_dim = 6,
                 .pairs = 2,
                 .cos = cos.data(),
                 .sin = sin.data()});
  EXPECT_EQ(x, (std::vector<float>{-3, -4, 1, 2, 5, 6}));
}

TEST(RopeTest, CpuEqualsReferenceBitForBit) {
  ForEachTarget([] {
    for (const int head_dim : {16, 48, 64, 80, 128, 256}) {
      for (const int pairs : {head_dim / 2, head_dim / 4, 5, 0}) {
        const int rows = 7;
        const int heads = 3;
        const int stride = heads * head_dim + 5;
        const Angles angles({5, 0, 1, 77, 1000, 1001, 40000}, pairs);
        const std::vector<float> x = RandomFloats(rows * stride, 3);
        std::vector<float> expected = x;
        RopeParams params{.x = expected.data(),
                          .x_stride = stride,
                          .rows = rows,
                          .heads = heads,
                          .head_dim = head_dim,
                          .pairs = pairs,
                          .cos = angles.cos.data(),
                          .sin = angles.sin.data()};
        RopeReference(params);
        for (const int parts : {1, 3, 9}) {
          std::vector<float> actual = x;
          params.x = actual.data();
          RunParts(RopeCpu, params, parts);
          ASSERT_EQ(actual, expected) << head_dim << " " << pairs << " " << parts;
        }
      }
    }
  });
}

struct WriteCase {
  KvFormats formats;
  int head_dim;
  int page_tokens;
  int pairs;
};

// A ragged batch: a chunk across pages, one token, and an empty sequence.
class KvWriteRun {
 public:
  explicit KvWriteRun(const WriteCase& c)
      : c_(c),
        stride_(2 * c.head_dim + 3),
        k_(RandomFloats(kRows * stride_, 7)),
        v_(RandomFloats(kRows * stride_, 8)),
        angles_(Positions(), c.pairs) {
    // One infinite key, one NaN value, one constant group, one group beyond every format's range.
    k_[2 * stride_ + 1] = std::numeric_limits<float>::infinity();
    v_[3 * stride_ + c.head_dim] = std::numeric_limits<float>::quiet_NaN();
    std::fill_n(v_.begin() + 4 * stride_, c.head_dim, -0.0f);
    for (int d = 0; d < c.head_dim; ++d) k_[5 * stride_ + d] *= 1e37f;
    for (int d = 0; d < c.head_dim; ++d) v_[6 * stride_ + d] *= 1e-9f;
  }

  std::vector<std::byte> Run(bool reference, int parts) {
    TestCache first({2, 2, c_.head_dim}, c_.formats, c_.page_tokens, kTokens);
    const std::vector<int32_t> second_pages = {0};
    const PagedSequence sequences[] = {
        {first.pages.data(), kFirstPosition, kRows - 1, 0},
        {first.pages.data(), 0, 0, kRows - 1},
        {second_pages.data(), 3, 1, kRows - 1},
    };
    KvWriteParams params{.k = k_.data(),
                         .v = v_.data(),
                         .k_stride = stride_,
                         .v_stride = stride_,
                         .pairs = c_.pairs,
                         .cos = angles_.cos.data(),
                         .sin = angles_.sin.data(),
                         .kv = first.kv(),
                         .layer = 1,
                         .sequences = sequences};
    if (reference) {
      KvWriteReference(params);
    } else {
      RunParts(KvWriteCpu, params, parts);
    }
    return {first.pool.begin(), first.pool.end()};
  }

 private:
  static constexpr int kRows = 60;
  static constexpr int kFirstPosition = 13;
  static constexpr int kTokens = 128;

  static std::vector<int32_t> Positions() {
    std::vector<int32_t> positions;
    for (int i = 0; i < kRows - 1; ++i) positions.push_back(kFirstPosition + i);
    positions.push_back(3);
    return positions;
  }

  WriteCase c_;
  int stride_;
  std::vector<float> k_;
  std::vector<float> v_;
  Angles angles_;
};

TEST(KvWriteTest, CpuEqualsReferenceBitForBit) {
  for (const KvFormats formats : kAllFormatPairs) {
    for (const int head_dim : {16, 48, 64, 80, 128, 256}) {
      for (const int page_tokens : {16, 32, 64, 128}) {
        const int pairs = page_tokens == 64 ? head_dim / 4 : head_dim / 2;
        KvWriteRun run({formats, head_dim, page_tokens, pairs});
        const std::vector<std::byte> expected = run.Run(true, 1);
        ForEachTarget([&] {
          for (const int parts : {1, 2, 5}) {
            ASSERT_TRUE(run.Run(false, parts) == expected)
                << KvFormatsName(formats) << " head_dim " << head_dim << " page " << page_tokens;
          }
        });
      }
    }
  }
}

TEST(KvWriteTest, LargeDynamicRangeEqualsReference) {
  // Every exponent of fp32 once, in every format: subnormals, ties and saturation of the small
  // formats.
  std::vector<float> x(16 * 1024);
  std::mt19937 random(9);
  for (size_t i = 0; i < x.size(); ++i) {
    const uint32_t exponent = static_cast<uint32_t>(i % 255) << 23;
    const uint32_t mantissa = i % 3 == 0 ? static_cast<uint32_t>(random() & 0x7) << 20
                                         : static_cast<uint32_t>(random() & 0x7FFFFF);
    x[i] =
        std::bit_cast<float>(exponent | mantissa | (static_cast<uint32_t>(random()) & 0x80000000u));
  }
  for (const KvFormats formats : kAllFormatPairs) {
    TestCache cache({1, 1, 16}, formats, 128, 1024);
    TestCache expected({1, 1, 16}, formats, 128, 1024);
    const PagedSequence sequence{cache.pages.data(), 0, 1024, 0};
    KvWriteParams params{.k = x.data(),
                         .v = x.data(),
                         .k_stride = 16,
                         .v_stride = 16,
                         .kv = expected.kv(),
                         .sequences = {&sequence, 1}};
    KvWriteReference(params);
    params.kv = cache.kv();
    ForEachTarget([&] {
      RunParts(KvWriteCpu, params, 1);
      ASSERT_TRUE(std::equal(cache.pool.begin(), cache.pool.end(), expected.pool.begin()))
          << KvFormatsName(formats);
    });
  }
}

TEST(KvWriteTest, WritesOnlyItsGroups) {
  TestCache cache({2, 2, 64}, {KvFormat::kInt8, KvFormat::kInt4}, 16, 48);
  const auto x = RandomFloats(2 * 64 * 3, 4);
  const PagedSequence sequence{cache.pages.data(), 15, 3, 0};
  const KvWriteParams params{.k = x.data(),
                             .v = x.data(),
                             .k_stride = 128,
                             .v_stride = 128,
                             .kv = cache.kv(),
                             .layer = 1,
                             .sequences = {&sequence, 1}};
  RunParts(KvWriteCpu, params, 2);
  size_t changed = 0;
  for (const std::byte b : cache.pool) changed += b != std::byte{0xA5};
  const size_t written = 3 * 2 * (64 + 2 + 32 + 4);
  EXPECT_LE(changed, written);
  EXPECT_GE(changed, written * 9 / 10);  // a written byte may be 0xA5 by chance
  const std::vector<float> back = cache.Decode(1, KvTensor::kKey, 1, 16);
  for (int d = 0; d < 64; ++d) EXPECT_NEAR(back[d], x[128 + 64 + d], 0.02);
}

}  // namespace
}  // namespace baton::kernels
