#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <random>
#include <string>
#include <vector>

#include "kernels/kv_page/kv_codec.h"
#include "kernels/kv_page/layout.h"
#include "kernels/numeric/aligned_buffer.h"

namespace baton::kernels {

inline constexpr KvFormats kAllFormatPairs[] = {
    {KvFormat::kFp16, KvFormat::kFp16},       {KvFormat::kBf16, KvFormat::kBf16},
    {KvFormat::kFp8E4m3, KvFormat::kFp8E4m3}, {KvFormat::kFp8E5m2, KvFormat::kFp8E5m2},
    {KvFormat::kInt8, KvFormat::kInt8},       {KvFormat::kInt4, KvFormat::kInt4},
    {KvFormat::kInt8, KvFormat::kInt4}};

inline std::vector<float> RandomFloats(size_t count, uint32_t seed, float sigma = 1.0f) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal(0.0f, sigma);
  std::vector<float> values(count);
  for (float& value : values) value = normal(random);
  return values;
}

// A pool of pages filled with 0xA5, and one page table that visits its pages in a shuffled order.
struct TestCache {
  TestCache(KvGeometry geometry, KvFormats formats, int page_tokens, int tokens, uint32_t seed = 1)
      : layout(geometry, formats, page_tokens),
        pages((tokens + page_tokens - 1) / page_tokens),
        pool(layout.page_bytes() * (pages.size() + 1)) {
    std::fill(pool.begin(), pool.end(), std::byte{0xA5});
    std::iota(pages.begin(), pages.end(), 1);  // page 0 belongs to nobody
    std::shuffle(pages.begin(), pages.end(), std::mt19937(seed));
  }

  PagedKv kv() { return {pool.data(), layout}; }
  std::byte* Codes(int layer, KvTensor tensor, int head, int position) {
    return Page(position) + layout.CodeOffset(layer, tensor, head, position % layout.page_tokens());
  }
  std::byte* Scale(int layer, KvTensor tensor, int head, int position) {
    return Page(position) +
           layout.ScaleOffset(layer, tensor, head, position % layout.page_tokens());
  }
  std::byte* Page(int position) { return kv().Page(pages[position / layout.page_tokens()]); }
  void Encode(int layer, KvTensor tensor, int head, int position, const float* x) {
    EncodeKvGroup(layout.format(tensor), x, layout.geometry().head_dim,
                  Codes(layer, tensor, head, position), Scale(layer, tensor, head, position));
  }
  std::vector<float> Decode(int layer, KvTensor tensor, int head, int position) {
    std::vector<float> x(layout.geometry().head_dim);
    DecodeKvGroup(layout.format(tensor), Codes(layer, tensor, head, position),
                  Scale(layer, tensor, head, position), layout.geometry().head_dim, x.data());
    return x;
  }
  // Random K and V for tokens [0, tokens) of one layer: the same numbers whatever the page size.
  void FillRandom(int layer, int tokens, uint32_t seed) {
    const int dim = layout.geometry().head_dim;
    for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
      for (int head = 0; head < layout.geometry().kv_heads; ++head) {
        const auto x = RandomFloats(static_cast<size_t>(tokens) * dim,
                                    seed + 2 * head + static_cast<uint32_t>(tensor));
        for (int t = 0; t < tokens; ++t) Encode(layer, tensor, head, t, x.data() + t * dim);
      }
    }
  }

  KvPageLayout layout;
  std::vector<int32_t> pages;
  AlignedBuffer<std::byte> pool;
};

}  // namespace baton::kernels
