#include "tests/bench/kernels_gpu/bench_cache.h"

#include <algorithm>
#include <numeric>
#include <random>

#include "kernels/rope/cuda.h"
#include "tests/bench/kernels_gpu/fill.h"

namespace baton::bench {
namespace {

namespace cuda = kernels::cuda;

constexpr int kFillRows = 4096;

}  // namespace

BenchCache::BenchCache(const kernels::KvPageLayout& layout, const std::vector<int32_t>& lengths,
                       int copies)
    : layout_(layout), sequences_(static_cast<int>(lengths.size())), copies_(copies) {
  const auto pages_of = [&](int32_t tokens) {
    return (tokens + layout.page_tokens() - 1) / layout.page_tokens();
  };
  int count = 0;
  for (const int32_t length : lengths) {
    count += pages_of(length);
    stride_ = std::max(stride_, pages_of(length));
  }
  std::vector<int32_t> pages(static_cast<size_t>(count) * copies);
  std::iota(pages.begin(), pages.end(), 0);
  std::shuffle(pages.begin(), pages.end(), std::mt19937(1));
  pool_ = cuda::DeviceBytes(layout.page_bytes() * pages.size());
  std::vector<int32_t> table(static_cast<size_t>(copies) * sequences_ * stride_, 0);
  auto next = pages.begin();
  for (int s = 0; s < copies * sequences_; ++s) {
    const int need = pages_of(lengths[s % sequences_]);
    std::copy(next, next + need, table.begin() + static_cast<int64_t>(s) * stride_);
    next += need;
  }
  table_ = cuda::DeviceArray<int32_t>(table);
  Fill(pages);
}

void BenchCache::Fill(const std::vector<int32_t>& pages) {
  const kernels::KvGeometry& geometry = layout_.geometry();
  const int width = geometry.kv_heads * geometry.head_dim;
  const cuda::DeviceArray<uint16_t> kv(static_cast<size_t>(2) * kFillRows * width);
  FillActivations(cuda::ActivationType::kFp16, kv.data(), kv.size(), 1.0f, 21);
  std::vector<int32_t> positions(kFillRows);
  std::iota(positions.begin(), positions.end(), 0);
  const cuda::DeviceArray<int32_t> device_positions(positions);
  const cuda::DeviceArray<int32_t> rows(std::vector<int32_t>(kFillRows, 0));
  const cuda::DeviceArray<int32_t> device_pages(pages);
  const int step = kFillRows / layout_.page_tokens();
  for (int layer = 0; layer < geometry.layers; ++layer) {
    for (size_t page = 0; page < pages.size(); page += step) {
      const int left = static_cast<int>(std::min<size_t>(step, pages.size() - page));
      cuda::OrAbort(cuda::RopeKvWrite({.k = kv.data(),
                                       .v = kv.data() + static_cast<size_t>(kFillRows) * width,
                                       .k_stride = width,
                                       .v_stride = width,
                                       .rows = left * layout_.page_tokens(),
                                       .kv = this->kv(),
                                       .layer = layer,
                                       .positions = device_positions.data(),
                                       .sequences = rows.data(),
                                       .page_table = device_pages.data() + page,
                                       .page_table_stride = left}),
                    "filling pages");
    }
  }
  cuda::OrAbort(cudaDeviceSynchronize(), "filling pages");
}

}  // namespace baton::bench
