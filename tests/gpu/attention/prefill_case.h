// A ragged prefill batch over one cache, on the device and by the reference.
#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/attention/prefill_cuda.h"
#include "tests/gpu/support/memory.h"
#include "tests/kernels/kv_page/test_cache.h"

namespace baton::kernels::cuda {

struct PrefillCaseShape {
  int q_heads = 4;
  int kv_heads = 2;
  int head_dim = 128;
  int page_tokens = 16;
  KvFormats formats;
  int window = 0;
  ActivationType type = ActivationType::kFp16;
};

// One sequence of `tokens` random tokens, and one random query for each of its positions. A batch
// is a list of chunks (first position, count) of that sequence.
class PrefillCase {
 public:
  using Chunks = std::vector<std::pair<int, int>>;

  PrefillCase(const PrefillCaseShape& shape, int tokens, uint32_t seed = 90)
      : shape_(shape),
        width_(shape.q_heads * shape.head_dim),
        cache_({2, shape.kv_heads, shape.head_dim}, shape.formats, shape.page_tokens, tokens),
        q_(Rounded(shape.type, RandomNormal(static_cast<size_t>(tokens) * width_, seed))) {
    cache_.FillRandom(1, tokens, seed + 1);
  }

  TestCache& cache() { return cache_; }
  std::vector<float>& queries() { return q_; }
  int width() const { return width_; }
  const PrefillCaseShape& shape() const { return shape_; }

  // Rows of all chunks, one after the other; columns [q_heads, head_dim].
  std::vector<float> Run(const Chunks& chunks, std::string* problem = nullptr) {
    DeviceArray<int32_t> pages(cache_.pages);
    DeviceArray<std::byte> pool(std::vector<std::byte>(cache_.pool.begin(), cache_.pool.end()));
    const PrefillPlan plan =
        PlanPrefill({shape_.q_heads, shape_.kv_heads, shape_.head_dim, shape_.page_tokens,
                     shape_.window, PrefillNeedsGather(shape_.type, shape_.formats)},
                    Sequences(chunks, pages.data()), {.sm_count = 132});
    const DeviceArray<uint16_t> q(ToActivations(shape_.type, Gathered(chunks)));
    const DeviceArray<uint16_t> out(q.size());
    std::vector<std::byte> image(plan.ImageBytes());
    plan.WriteImage(image.data());
    const DeviceArray<std::byte> device_image(image);
    const DeviceBytes workspace(plan.WorkspaceBytes());
    const AttentionPrefillParams params{
        .q = q.data(),
        .q_stride = width_,
        .out = out.data(),
        .out_stride = width_,
        .type = shape_.type,
        .scale = Scale(),
        .pool = pool.data(),
        .pool_pages = static_cast<int32_t>(cache_.pool.size() / cache_.layout.page_bytes()),
        .layout = cache_.layout,
        .layer = 1,
        .plan = &plan,
        .image = device_image.data(),
        .workspace = workspace.data(),
        .workspace_bytes = workspace.bytes(),
        .sm_count = 132};
    if (problem != nullptr) *problem = AttentionPrefillProblem(params).value_or("");
    // Twice: the counters in the image must come back to zero.
    OrAbort(AttentionPrefill(params), "AttentionPrefill");
    OrAbort(cudaDeviceSynchronize(), "first launch");
    const std::vector<uint16_t> first = out.Download();
    OrAbort(cudaMemset(out.data(), 0xFF, out.size() * 2), "poison");
    OrAbort(AttentionPrefill(params), "AttentionPrefill");
    OrAbort(cudaDeviceSynchronize(), "second launch");
    const std::vector<uint16_t> second = out.Download();
    repeats_ = std::memcmp(first.data(), second.data(), first.size() * 2) == 0;
    return FromActivations(shape_.type, second);
  }
  // Whether the two launches of the last Run gave the same bits.
  bool repeats() const { return repeats_; }

  std::vector<float> Reference(const Chunks& chunks) {
    const std::vector<float> q = Gathered(chunks);
    std::vector<float> out(q.size());
    const auto sequences = Sequences(chunks, cache_.pages.data());
    AttentionReference({.q = q.data(),
                        .q_stride = width_,
                        .out = out.data(),
                        .out_stride = width_,
                        .q_heads = shape_.q_heads,
                        .scale = Scale(),
                        .window = shape_.window,
                        .kv = cache_.kv(),
                        .layer = 1,
                        .sequences = sequences});
    return out;
  }

 private:
  float Scale() const { return 1.0f / std::sqrt(static_cast<float>(shape_.head_dim)); }
  static std::vector<PagedSequence> Sequences(const Chunks& chunks, const int32_t* pages) {
    std::vector<PagedSequence> sequences;
    int row = 0;
    for (const auto& [first, count] : chunks) {
      sequences.push_back({pages, first, count, row});
      row += count;
    }
    return sequences;
  }
  std::vector<float> Gathered(const Chunks& chunks) const {
    std::vector<float> q;
    for (const auto& [first, count] : chunks) {
      q.insert(q.end(), q_.begin() + static_cast<int64_t>(first) * width_,
               q_.begin() + static_cast<int64_t>(first + count) * width_);
    }
    return q;
  }

  PrefillCaseShape shape_;
  int width_;
  TestCache cache_;
  std::vector<float> q_;
  bool repeats_ = false;
};

}  // namespace baton::kernels::cuda
