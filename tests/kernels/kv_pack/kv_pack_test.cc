#include "kernels/kv_pack/kv_pack.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "gtest/gtest.h"
#include "tests/kernels/kv_page/targets.h"
#include "tests/kernels/kv_page/test_cache.h"

namespace baton::kernels {
namespace {

constexpr KvGeometry kGeometry{3, 3, 48};
constexpr int kTokens = 90;

uint64_t RunPack(const PackParams& params, int parts) {
  uint64_t sum = 0;
  for (int part = parts - 1; part >= 0; --part) sum += PackCpu(params, part, parts);
  return sum;
}

uint64_t RunScatter(const ScatterParams& params, int parts) {
  uint64_t sum = 0;
  for (int part = parts - 1; part >= 0; --part) sum += ScatterCpu(params, part, parts);
  return sum;
}

TestCache FilledCache(KvFormats formats, int page_tokens) {
  TestCache cache(kGeometry, formats, page_tokens, kTokens);
  for (int layer = 0; layer < kGeometry.layers; ++layer) {
    cache.FillRandom(layer, kTokens, 100 + 10 * layer);
    // One NaN group and one group beyond the range of fp16.
    std::vector<float> x(kGeometry.head_dim, std::numeric_limits<float>::quiet_NaN());
    cache.Encode(layer, KvTensor::kKey, 1, 20, x.data());
    std::fill(x.begin(), x.end(), 1e30f);
    x[3] = -1e30f;
    cache.Encode(layer, KvTensor::kValue, 2, 30, x.data());
  }
  return cache;
}

struct Payload {
  Payload(const SlabRange& range, KvFormats wire)
      : layout(*SlabLayout::Make(range, wire, kGeometry.head_dim)), bytes(layout.payload_bytes()) {
    std::fill(bytes.begin(), bytes.end(), std::byte{0xEE});
  }
  SlabLayout layout;
  AlignedBuffer<std::byte> bytes;
};

const SlabRange kRanges[] = {
    {0, 3, 0, 3, 0, 90}, {1, 2, 1, 3, 5, 6}, {0, 1, 2, 3, 15, 49}, {2, 3, 0, 1, 64, 90}};

TEST(KvPackTest, CpuEqualsReferenceForEveryPairOfFormats) {
  for (const KvFormats resident : kAllFormatPairs) {
    TestCache cache = FilledCache(resident, 32);
    for (const KvFormats wire : kAllFormatPairs) {
      for (const SlabRange& range : kRanges) {
        Payload expected(range, wire);
        PackParams params{.source = cache.kv(),
                          .pages = cache.pages.data(),
                          .range = range,
                          .layout = expected.layout,
                          .payload = expected.bytes.data()};
        const uint64_t sum = PackReference(params);
        EXPECT_EQ(sum, PayloadChecksum(expected.bytes.span()));
        ForEachTarget([&] {
          for (const int parts : {1, 2, 9}) {
            Payload actual(range, wire);
            params.payload = actual.bytes.data();
            ASSERT_EQ(RunPack(params, parts), sum)
                << KvFormatsName(resident) << " to " << KvFormatsName(wire);
            ASSERT_TRUE(
                std::equal(actual.bytes.begin(), actual.bytes.end(), expected.bytes.begin()));
          }
        });
      }
    }
  }
}

TEST(KvPackTest, ScatterEqualsReferenceForEveryPairOfFormats) {
  for (const KvFormats wire : kAllFormatPairs) {
    TestCache source = FilledCache(wire, 16);
    for (const KvFormats resident : kAllFormatPairs) {
      for (const SlabRange& range : kRanges) {
        Payload payload(range, wire);
        const uint64_t sum = PackReference(
            {source.kv(), source.pages.data(), range, payload.layout, payload.bytes.data()});
        TestCache expected(kGeometry, resident, 64, kTokens);
        ScatterReference(
            {payload.bytes.data(), range, payload.layout, expected.kv(), expected.pages.data()});
        ForEachTarget([&] {
          TestCache actual(kGeometry, resident, 64, kTokens);
          ASSERT_EQ(RunScatter({payload.bytes.data(), range, payload.layout, actual.kv(),
                                actual.pages.data()},
                               4),
                    sum);
          ASSERT_TRUE(std::equal(actual.pool.begin(), actual.pool.end(), expected.pool.begin()))
              << KvFormatsName(wire) << " to " << KvFormatsName(resident);
        });
      }
    }
  }
}

// The wire carries the resident bits when the formats agree, whatever the two page sizes.
TEST(KvPackTest, RoundTripIsExactForEqualFormats) {
  for (const KvFormats formats : kAllFormatPairs) {
    for (const int page_tokens : {16, 128}) {
      TestCache source = FilledCache(formats, 32);
      TestCache target(kGeometry, formats, page_tokens, kTokens, 9);
      const SlabRange range = kRanges[0];
      Payload payload(range, formats);
      const uint64_t sum = RunPack(
          {source.kv(), source.pages.data(), range, payload.layout, payload.bytes.data()}, 3);
      ASSERT_EQ(
          RunScatter(
              {payload.bytes.data(), range, payload.layout, target.kv(), target.pages.data()}, 3),
          sum);
      for (int layer = 0; layer < kGeometry.layers; ++layer) {
        for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
          for (int head = 0; head < kGeometry.kv_heads; ++head) {
            for (int t = 0; t < kTokens; ++t) {
              const size_t codes = source.layout.code_bytes(tensor);
              ASSERT_TRUE(std::equal(source.Codes(layer, tensor, head, t),
                                     source.Codes(layer, tensor, head, t) + codes,
                                     target.Codes(layer, tensor, head, t)));
              const size_t scale = source.layout.scale_bytes(tensor);
              ASSERT_TRUE(std::equal(source.Scale(layer, tensor, head, t),
                                     source.Scale(layer, tensor, head, t) + scale,
                                     target.Scale(layer, tensor, head, t)));
            }
          }
        }
      }
    }
  }
}

TEST(KvPackTest, PayloadLiesWhereTheSpecificationSays) {
  TestCache cache = FilledCache({KvFormat::kInt8, KvFormat::kInt4}, 16);
  const SlabRange range{1, 3, 1, 3, 10, 30};
  Payload payload(range, {KvFormat::kInt8, KvFormat::kInt4});
  RunPack({cache.kv(), cache.pages.data(), range, payload.layout, payload.bytes.data()}, 2);
  // Layer 2, head 2, token 17: second layer, second head, eighth of 20 tokens.
  const uint64_t layer_bytes = 2 * 20 * 48 + 2 * 20 * 2 + 2 * 20 * 24 + 2 * 20 * 4;
  const uint64_t k = layer_bytes + (20 + 7) * 48;
  EXPECT_TRUE(std::equal(payload.bytes.begin() + k, payload.bytes.begin() + k + 48,
                         cache.Codes(2, KvTensor::kKey, 2, 17)));
  const uint64_t m = layer_bytes + 40 * 48 + 40 * 2 + 40 * 24 + (20 + 7) * 4;
  EXPECT_TRUE(std::equal(payload.bytes.begin() + m, payload.bytes.begin() + m + 4,
                         cache.Scale(2, KvTensor::kValue, 2, 17)));
}

TEST(KvPackTest, HostilePayloadOnlyChangesItsGroups) {
  TestCache target(kGeometry, {KvFormat::kFp16, KvFormat::kFp16}, 16, kTokens);
  const SlabRange range{1, 2, 0, 1, 20, 40};
  for (const KvFormats wire : kAllFormatPairs) {
    Payload payload(range, wire);  // 0xEE everywhere
    RunScatter({payload.bytes.data(), range, payload.layout, target.kv(), target.pages.data()}, 1);
  }
  size_t changed = 0;
  for (const std::byte b : target.pool) changed += b != std::byte{0xA5};
  EXPECT_LE(changed, 20u * 2 * 48 * 2);
  EXPECT_GT(changed, 0u);
}

}  // namespace
}  // namespace baton::kernels
