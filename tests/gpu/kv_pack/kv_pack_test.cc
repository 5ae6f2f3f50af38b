#include "kernels/kv_pack/kv_pack.h"

#include <algorithm>
#include <limits>
#include <vector>

#include "kernels/kv_pack/cuda.h"
#include "tests/gpu/support/device.h"
#include "tests/kernels/kv_page/test_cache.h"

namespace baton::kernels::cuda {
namespace {

using KvPackTest = GpuTest;

constexpr int kLayers = 3;
constexpr int kHeads = 3;
constexpr int kTokens = 90;

TestCache FilledCache(int head_dim, KvFormats formats, int page_tokens) {
  TestCache cache({kLayers, kHeads, head_dim}, formats, page_tokens, kTokens);
  for (int layer = 0; layer < kLayers; ++layer) {
    cache.FillRandom(layer, kTokens, 100 + 10 * layer);
    // A NaN group, one beyond the range of fp16, a constant one and one far below every scale.
    std::vector<float> x(head_dim, std::numeric_limits<float>::quiet_NaN());
    cache.Encode(layer, KvTensor::kKey, 1, 20, x.data());
    std::fill(x.begin(), x.end(), 1e30f);
    x[3] = -1e30f;
    cache.Encode(layer, KvTensor::kValue, 2, 30, x.data());
    std::fill(x.begin(), x.end(), 0.75f);
    cache.Encode(layer, KvTensor::kValue, 0, 31, x.data());
    std::fill(x.begin(), x.end(), 0.0f);
    x[5] = 1e-7f;
    cache.Encode(layer, KvTensor::kKey, 0, 32, x.data());
  }
  return cache;
}

struct Payload {
  Payload(const SlabRange& range, KvFormats wire, int head_dim)
      : layout(*SlabLayout::Make(range, wire, head_dim)), bytes(layout.payload_bytes()) {
    std::fill(bytes.begin(), bytes.end(), std::byte{0xEE});
  }
  SlabLayout layout;
  AlignedBuffer<std::byte> bytes;
};

std::vector<std::byte> Bytes(const AlignedBuffer<std::byte>& buffer) {
  return {buffer.begin(), buffer.end()};
}

const SlabRange kRanges[] = {
    {0, 3, 0, 3, 0, 90}, {1, 2, 1, 3, 5, 6}, {0, 1, 2, 3, 15, 49}, {2, 3, 0, 1, 64, 90}};

// A cache and its page table in device memory.
struct DeviceCache {
  explicit DeviceCache(const TestCache& cache)
      : pool(Bytes(cache.pool)), pages(cache.pages), layout(cache.layout) {}

  PagedKv kv() const { return {pool.data(), layout}; }

  DeviceArray<std::byte> pool;
  DeviceArray<int32_t> pages;
  KvPageLayout layout;
};

void ExpectPackOfTheReference(TestCache& cache, const DeviceCache& device, const SlabRange& range,
                              KvFormats wire) {
  const int head_dim = cache.layout.geometry().head_dim;
  SCOPED_TRACE(testing::Message() << KvFormatsName(cache.layout.formats()) << " to "
                                  << KvFormatsName(wire) << " head_dim " << head_dim << " tokens "
                                  << range.t0 << " to " << range.t1);
  Payload expected(range, wire, head_dim);
  const uint64_t sum = PackReference(
      {cache.kv(), cache.pages.data(), range, expected.layout, expected.bytes.data()});
  const DeviceArray<std::byte> payload(expected.bytes.size());
  const DeviceArray<uint64_t> checksum(std::vector<uint64_t>{5});
  ASSERT_CUDA(Pack({.kv = device.kv(),
                    .pages = device.pages.data(),
                    .range = range,
                    .layout = expected.layout,
                    .payload = payload.data(),
                    .checksum = checksum.data()}));
  EXPECT_TRUE(payload.Download() == Bytes(expected.bytes));
  EXPECT_EQ(checksum.Download()[0], sum + 5);
}

void ExpectScatterOfTheReference(TestCache& source, const SlabRange& range, KvFormats wire,
                                 KvFormats resident, int page_tokens) {
  const int head_dim = source.layout.geometry().head_dim;
  SCOPED_TRACE(testing::Message() << KvFormatsName(wire) << " to " << KvFormatsName(resident)
                                  << " head_dim " << head_dim << " tokens " << range.t0 << " to "
                                  << range.t1);
  Payload payload(range, wire, head_dim);
  PackReference({source.kv(), source.pages.data(), range, payload.layout, payload.bytes.data()});
  TestCache expected({kLayers, kHeads, head_dim}, resident, page_tokens, kTokens, 9);
  const DeviceCache device(expected);
  const uint64_t sum = ScatterReference(
      {payload.bytes.data(), range, payload.layout, expected.kv(), expected.pages.data()});
  const DeviceArray<std::byte> device_payload(Bytes(payload.bytes));
  const DeviceArray<uint64_t> checksum(std::vector<uint64_t>{0});
  ASSERT_CUDA(Scatter({.kv = device.kv(),
                       .pages = device.pages.data(),
                       .range = range,
                       .layout = payload.layout,
                       .payload = device_payload.data(),
                       .checksum = checksum.data()}));
  EXPECT_TRUE(device.pool.Download() == Bytes(expected.pool));
  EXPECT_EQ(checksum.Download()[0], sum);
}

TEST_F(KvPackTest, PackEqualsReferenceForEveryPairOfFormats) {
  for (const KvFormats resident : Axis(kAllFormatPairs)) {
    TestCache cache = FilledCache(64, resident, 32);
    const DeviceCache device(cache);
    for (const KvFormats wire : Axis(kAllFormatPairs)) {
      for (const SlabRange& range : Axis(kRanges))
        ExpectPackOfTheReference(cache, device, range, wire);
    }
  }
}

TEST_F(KvPackTest, ScatterEqualsReferenceForEveryPairOfFormats) {
  for (const KvFormats wire : Axis(kAllFormatPairs)) {
    TestCache source = FilledCache(64, wire, 16);
    for (const KvFormats resident : Axis(kAllFormatPairs)) {
      for (const SlabRange& range : Axis(kRanges)) {
        ExpectScatterOfTheReference(source, range, wire, resident, 64);
      }
    }
  }
}

TEST_F(KvPackTest, HeadDimsAndPageSizes) {
  const KvFormats formats[] = {{KvFormat::kFp16, KvFormat::kFp16},
                               {KvFormat::kFp8E4m3, KvFormat::kFp8E4m3},
                               {KvFormat::kInt8, KvFormat::kInt4}};
  for (const int head_dim : Axis({32, 64, 128, 256})) {
    for (const int page_tokens : {16, 128}) {
      for (const KvFormats resident : formats) {
        TestCache cache = FilledCache(head_dim, resident, page_tokens);
        const DeviceCache device(cache);
        for (const KvFormats wire : formats) {
          ExpectPackOfTheReference(cache, device, kRanges[0], wire);
          ExpectScatterOfTheReference(cache, kRanges[0], resident, wire, 32);
        }
      }
    }
  }
}

// Any bytes may come from a peer: scatter writes the groups of the range and nothing else.
TEST_F(KvPackTest, HostilePayloadOnlyChangesItsGroups) {
  const TestCache target({kLayers, kHeads, 64}, {KvFormat::kFp16, KvFormat::kFp16}, 16, kTokens);
  const DeviceCache device(target);
  const SlabRange range{1, 2, 0, 1, 20, 40};
  const DeviceArray<uint64_t> checksum(std::vector<uint64_t>{0});
  for (const KvFormats wire : Axis(kAllFormatPairs)) {
    const Payload payload(range, wire, 64);  // 0xEE everywhere
    const DeviceArray<std::byte> device_payload(Bytes(payload.bytes));
    ASSERT_CUDA(Scatter({.kv = device.kv(),
                         .pages = device.pages.data(),
                         .range = range,
                         .layout = payload.layout,
                         .payload = device_payload.data(),
                         .checksum = checksum.data()}));
  }
  size_t changed = 0;
  for (const std::byte b : device.pool.Download()) changed += b != std::byte{0xA5};
  EXPECT_LE(changed, 20u * 2 * 64 * 2);
  EXPECT_GT(changed, 0u);
}

TEST_F(KvPackTest, RefusalsNameTheField) {
  const SlabRange range{0, 1, 0, 1, 0, 16};
  SlabCopyParams params{.kv = {nullptr, KvPageLayout({1, 1, 48}, {}, 16)},
                        .range = range,
                        .layout = *SlabLayout::Make(range, {}, 48)};
  EXPECT_STREQ(SlabCopyProblem(params), "slab copy: head_dim, expected 32, 64, 128 or 256");
  params.kv.layout = KvPageLayout({1, 1, 64}, {}, 16);
  EXPECT_STREQ(SlabCopyProblem(params), "slab copy: layout, expected that of the range");
  EXPECT_EQ(Pack(params), cudaErrorInvalidValue);
  params.layout = *SlabLayout::Make(range, {}, 64);
  params.range.h1 = 2;
  EXPECT_STREQ(SlabCopyProblem(params), "slab copy: range, expected one within the cache");
}

}  // namespace
}  // namespace baton::kernels::cuda
