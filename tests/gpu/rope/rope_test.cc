#include "kernels/rope/rope.h"

#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "kernels/rope/cuda.h"
#include "tests/gpu/support/compare.h"
#include "tests/gpu/support/device.h"
#include "tests/kernels/kv_page/test_cache.h"

namespace baton::kernels::cuda {
namespace {

using RopeTest = GpuTest;

std::vector<float> InverseFrequencies(int pairs) {
  std::vector<float> inv_freq(pairs);
  for (int i = 0; i < pairs; ++i) {
    inv_freq[i] = std::pow(500000.0f, -static_cast<float>(i) / static_cast<float>(pairs));
  }
  return inv_freq;
}

struct Angles {
  std::vector<float> cos, sin;
};
Angles HostAngles(const std::vector<int32_t>& positions, int pairs, float magnitude) {
  const std::vector<float> inv_freq = InverseFrequencies(pairs);
  Angles angles{std::vector<float>(positions.size() * pairs),
                std::vector<float>(positions.size() * pairs)};
  kernels::RopeAngles({.inv_freq = inv_freq.data(),
                       .pairs = pairs,
                       .magnitude = magnitude,
                       .positions = positions.data(),
                       .rows = static_cast<int>(positions.size()),
                       .cos = angles.cos.data(),
                       .sin = angles.sin.data()},
                      0, 1);
  return angles;
}

// The angle itself is one fp32 product on both sides; sine and cosine err by at most 2 ulp of one
// (CUDA C++ programming guide, table of maximum errors), the C library's by less than 1.
TEST_F(RopeTest, AnglesOfTheCpu) {
  const std::vector<int32_t> positions = {0, 1, 2, 17, 4095, 131071, 1 << 20};
  for (const int pairs : {8, 32, 64}) {
    const Angles expected = HostAngles(positions, pairs, 1.25f);
    const DeviceArray<float> inv_freq(InverseFrequencies(pairs));
    const DeviceArray<int32_t> device_positions(positions);
    const DeviceArray<float> cos(expected.cos.size());
    const DeviceArray<float> sin(expected.sin.size());
    ASSERT_CUDA(RopeAngles({.inv_freq = inv_freq.data(),
                            .pairs = pairs,
                            .magnitude = 1.25f,
                            .positions = device_positions.data(),
                            .rows = static_cast<int>(positions.size()),
                            .cos = cos.data(),
                            .sin = sin.data()}));
    EXPECT_TRUE(ElementsClose(cos.Download(), expected.cos, 4.0 * 1.25 * 0x1p-24, 0.0));
    EXPECT_TRUE(ElementsClose(sin.Download(), expected.sin, 4.0 * 1.25 * 0x1p-24, 0.0));
  }
}

struct WriteShape {
  int q_heads = 8;
  int kv_heads = 2;
  int head_dim = 128;
  int pairs = 64;
  int page_tokens = 16;
  KvFormats formats;
  ActivationType type = ActivationType::kFp16;
};

// Rows of a ragged batch: two chunks of sequences and one row that is padding.
struct Batch {
  std::vector<PagedSequence> sequences;
  std::vector<int32_t> positions, rows;
};
Batch MakeBatch(const std::vector<int32_t>& pages, const std::vector<std::pair<int, int>>& chunks) {
  Batch batch;
  for (size_t s = 0; s < chunks.size(); ++s) {
    const auto [first, count] = chunks[s];
    batch.sequences.push_back(
        {pages.data(), first, count, static_cast<int>(batch.positions.size())});
    for (int i = 0; i < count; ++i) {
      batch.positions.push_back(first + i);
      batch.rows.push_back(0);
    }
  }
  batch.positions.push_back(1'000'000);  // padding
  batch.rows.push_back(-1);
  return batch;
}

void ExpectBitsOfTheReference(const WriteShape& shape, std::vector<float>* special_k = nullptr) {
  SCOPED_TRACE(testing::Message() << KvFormatsName(shape.formats) << " " << Name(shape.type)
                                  << " heads " << shape.q_heads << "/" << shape.kv_heads << " x "
                                  << shape.head_dim << " pairs " << shape.pairs << " page "
                                  << shape.page_tokens);
  const int tokens = 150;
  const KvGeometry geometry{2, shape.kv_heads, shape.head_dim};
  TestCache cache(geometry, shape.formats, shape.page_tokens, tokens);
  const std::vector<std::byte> before(cache.pool.begin(), cache.pool.end());
  const Batch batch = MakeBatch(cache.pages, {{0, 60}, {77, 1}, {100, 50}});
  const int rows = static_cast<int>(batch.positions.size());
  const int q_width = shape.q_heads * shape.head_dim;
  const int kv_width = shape.kv_heads * shape.head_dim;
  const int width = q_width + 2 * kv_width;  // Q, K, V side by side, as a fused product gives them
  std::vector<float> qkv =
      Rounded(shape.type, RandomNormal(static_cast<size_t>(rows) * width, 11, 3.0f));
  if (special_k != nullptr) {
    for (size_t i = 0; i < special_k->size(); ++i) {
      qkv[static_cast<size_t>(width) * (i % 50) + q_width + 7 * i % (2 * kv_width)] =
          (*special_k)[i];
    }
  }
  qkv = Rounded(shape.type, qkv);
  const Angles angles = HostAngles(batch.positions, shape.pairs, 1.0f);

  // On the device, from the same bits.
  const DeviceArray<uint16_t> device_qkv(ToActivations(shape.type, qkv));
  const DeviceArray<std::byte> pool(before);
  const DeviceArray<float> cos(angles.cos);
  const DeviceArray<float> sin(angles.sin);
  const DeviceArray<int32_t> positions(batch.positions);
  const DeviceArray<int32_t> sequence_rows(batch.rows);
  const DeviceArray<int32_t> table(cache.pages);
  const RopeKvWriteParams params{.q = device_qkv.data(),
                                 .k = device_qkv.data() + q_width,
                                 .v = device_qkv.data() + q_width + kv_width,
                                 .q_stride = width,
                                 .k_stride = width,
                                 .v_stride = width,
                                 .type = shape.type,
                                 .rows = rows,
                                 .q_heads = shape.q_heads,
                                 .pairs = shape.pairs,
                                 .cos = cos.data(),
                                 .sin = sin.data(),
                                 .kv = {pool.data(), cache.layout},
                                 .layer = 1,
                                 .positions = positions.data(),
                                 .sequences = sequence_rows.data(),
                                 .page_table = table.data(),
                                 .page_table_stride = static_cast<int64_t>(cache.pages.size())};
  ASSERT_EQ(RopeKvWriteProblem(params), nullptr);
  ASSERT_CUDA(RopeKvWrite(params));

  KvWriteReference({.k = qkv.data() + q_width,
                    .v = qkv.data() + q_width + kv_width,
                    .k_stride = width,
                    .v_stride = width,
                    .pairs = shape.pairs,
                    .cos = angles.cos.data(),
                    .sin = angles.sin.data(),
                    .kv = cache.kv(),
                    .layer = 1,
                    .sequences = batch.sequences});
  const std::vector<std::byte> actual = pool.Download();
  size_t differ = 0;
  for (size_t i = 0; i < actual.size(); ++i) differ += actual[i] != cache.pool.data()[i];
  EXPECT_EQ(differ, 0u) << "bytes of the pool, of " << actual.size();

  RopeReference({.x = qkv.data(),
                 .x_stride = width,
                 .rows = rows,
                 .heads = shape.q_heads,
                 .head_dim = shape.head_dim,
                 .pairs = shape.pairs,
                 .cos = angles.cos.data(),
                 .sin = angles.sin.data()});
  const std::vector<uint16_t> expected = ToActivations(shape.type, qkv);
  const std::vector<uint16_t> written = device_qkv.Download();
  differ = 0;
  for (size_t i = 0; i < expected.size(); ++i) {
    // A NaN may carry other bits.
    const bool nan = qkv[i] != qkv[i];
    differ += nan ? FromActivations(shape.type, {&written[i], 1})[0] ==
                        FromActivations(shape.type, {&written[i], 1})[0]
                  : written[i] != expected[i];
  }
  EXPECT_EQ(differ, 0u) << "activations, of " << expected.size();
}

TEST_F(RopeTest, WritesTheBitsOfTheReference) {
  int round = 0;
  for (const KvFormats formats : Axis(kAllFormatPairs)) {
    for (const int head_dim : {64, 128}) {
      for (const int page_tokens : {16, 64}) {
        ++round;
        ExpectBitsOfTheReference(
            {.head_dim = head_dim,
             .pairs = head_dim / 2,
             .page_tokens = page_tokens,
             .formats = formats,
             .type = round % 2 == 0 ? ActivationType::kFp16 : ActivationType::kBf16});
      }
    }
  }
}

TEST_F(RopeTest, HeadCountsAndPartialRotation) {
  const std::pair<int, int> heads[] = {{1, 1}, {3, 3}, {32, 8}, {5, 1}, {0, 4}};
  for (const auto& [q_heads, kv_heads] : heads) {
    for (const int pairs : Axis({0, 8, 32, 64})) {
      for (const KvFormat format : {KvFormat::kFp16, KvFormat::kInt4}) {
        ExpectBitsOfTheReference({.q_heads = q_heads,
                                  .kv_heads = kv_heads,
                                  .pairs = pairs,
                                  .page_tokens = 32,
                                  .formats = {format, format}});
      }
    }
  }
}

// NaN, infinities, signed zeros, values beyond the formats and far below them.
TEST_F(RopeTest, SpecialValues) {
  std::vector<float> special = {std::numeric_limits<float>::quiet_NaN(),
                                std::numeric_limits<float>::infinity(),
                                -std::numeric_limits<float>::infinity(),
                                0.0f,
                                -0.0f,
                                65504.0f,
                                -60000.0f,
                                1e-7f};
  for (const KvFormats formats : Axis(kAllFormatPairs)) {
    for (const int pairs : {0, 64}) {
      ExpectBitsOfTheReference({.pairs = pairs, .formats = formats}, &special);
      std::vector<float> large = {1e38f, -3e38f, 1e20f};
      ExpectBitsOfTheReference({.pairs = pairs, .formats = formats, .type = ActivationType::kBf16},
                               &large);
    }
  }
}

TEST_F(RopeTest, RefusalsNameTheField) {
  RopeKvWriteParams params;
  params.kv.layout = KvPageLayout({1, 2, 80}, {}, 16);
  EXPECT_STREQ(RopeKvWriteProblem(params), "rope: head_dim, expected 64 or 128");
  params.kv.layout = KvPageLayout({1, 2, 64}, {}, 16);
  params.pairs = 12;
  EXPECT_STREQ(RopeKvWriteProblem(params),
               "rope: pairs, expected a multiple of 8 up to head_dim / 2");
  params.rows = 1;
  EXPECT_EQ(RopeKvWrite(params), cudaErrorInvalidValue);
}

}  // namespace
}  // namespace baton::kernels::cuda
