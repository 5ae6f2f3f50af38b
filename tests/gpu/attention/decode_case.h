// A decode step on the host and on the device, for tests.
#pragma once

#include <cmath>
#include <cstdint>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/attention/decode_cuda.h"
#include "kernels/cuda/device.h"
#include "tests/gpu/support/memory.h"
#include "tests/kernels/kv_page/test_cache.h"

namespace baton::kernels::cuda {

struct DecodeCaseShape {
  int q_heads = 8;
  int kv_heads = 2;
  int head_dim = 128;
  int page_tokens = 16;
  KvFormats formats;
  int window = 0;
  ActivationType type = ActivationType::kFp16;
  std::vector<int32_t> lengths;
  int min_chunks = 1;  // small: the plan splits what it can
};

// Sequences of random tokens that share a pool: sequence s has the pool's pages in an order rotated
// by s, so that no two read the same tokens at the same positions.
class DecodeCase {
 public:
  explicit DecodeCase(const DecodeCaseShape& shape, uint32_t seed = 70)
      : shape_(shape),
        longest_(*std::max_element(shape.lengths.begin(), shape.lengths.end())),
        pages_((longest_ + shape.page_tokens - 1) / shape.page_tokens),
        cache_({2, shape.kv_heads, shape.head_dim}, shape.formats, shape.page_tokens,
               pages_ * shape.page_tokens),
        q_(Rounded(shape.type, RandomNormal(shape.lengths.size() * width(), seed))) {
    cache_.FillRandom(1, pages_ * shape.page_tokens, seed + 1);
    for (size_t s = 0; s < shape.lengths.size(); ++s) {
      for (int i = 0; i < pages_; ++i) table_.push_back(cache_.pages[(i + s) % pages_]);
    }
  }

  TestCache& cache() { return cache_; }
  std::vector<int32_t>& table() { return table_; }
  std::vector<float>& queries() { return q_; }
  int width() const { return shape_.q_heads * shape_.head_dim; }
  // Token of sequence s at a position, as a position of the cache.
  int CachePosition(int s, int position) const {
    return (position / shape_.page_tokens + s) % pages_ * shape_.page_tokens +
           position % shape_.page_tokens;
  }

  std::vector<float> Reference() {
    std::vector<PagedSequence> sequences;
    for (size_t s = 0; s < shape_.lengths.size(); ++s) {
      const int32_t length = shape_.lengths[s];
      if (length > 0) {
        sequences.push_back({table_.data() + s * pages_, length - 1, 1, static_cast<int>(s)});
      }
    }
    std::vector<float> out(q_.size(), std::nanf(""));
    AttentionReference({.q = q_.data(),
                        .q_stride = width(),
                        .out = out.data(),
                        .out_stride = width(),
                        .q_heads = shape_.q_heads,
                        .scale = scale(),
                        .window = shape_.window,
                        .kv = cache_.kv(),
                        .layer = 1,
                        .sequences = sequences});
    return out;
  }

  // Launches `times` times on one workspace; the result of the last as activations.
  std::vector<uint16_t> RunCodes(int times = 1) {
    DeviceTraits device;
    OrAbort(QueryDevice(0, &device), "device");
    DeviceArray<std::byte> pool(cache_.pool.size());
    pool.Upload(std::vector<std::byte>(cache_.pool.begin(), cache_.pool.end()));
    const DeviceArray<int32_t> table(table_);
    const DeviceArray<uint16_t> q(ToActivations(shape_.type, q_));
    DeviceArray<uint16_t> out(q_.size());
    const DecodeProblem problem{shape_.formats,
                                shape_.head_dim,
                                shape_.q_heads,
                                shape_.kv_heads,
                                static_cast<int>(shape_.lengths.size()),
                                device.sm_count};
    DecodeAttentionParams params{.q = q.data(),
                                 .q_stride = width(),
                                 .out = out.data(),
                                 .out_stride = width(),
                                 .type = shape_.type,
                                 .q_heads = shape_.q_heads,
                                 .scale = scale(),
                                 .kv = {pool.data(), cache_.layout},
                                 .layer = 1,
                                 .page_table = table.data(),
                                 .page_table_stride = pages_,
                                 .config = ChooseDecode(problem),
                                 .sm_count = device.sm_count};
    DecodePlanShape plan_shape = DecodeShape(params.config, problem);
    plan_shape.lengths = shape_.lengths;
    plan_shape.window = shape_.window;
    plan_shape.min_chunks = shape_.min_chunks;
    const DeviceArray<int32_t> plan(PlanDecode(plan_shape).Words());
    const size_t bytes = DecodeWorkspaceBytes(params.config, device.sm_count, shape_.head_dim);
    const DeviceArray<std::byte> workspace(std::vector<std::byte>(bytes, std::byte{0}));
    params.plan = plan.data();
    params.workspace = workspace.data();
    params.workspace_bytes = bytes;
    for (int i = 0; i < times; ++i) {
      out.Poison();
      OrAbort(DecodeAttention(params), "decode attention");
    }
    return out.Download();
  }
  std::vector<float> Run(int times = 1) { return FromActivations(shape_.type, RunCodes(times)); }

 private:
  float scale() const { return 1.0f / std::sqrt(static_cast<float>(shape_.head_dim)); }

  DecodeCaseShape shape_;
  int longest_;
  int pages_;
  TestCache cache_;
  std::vector<float> q_;
  std::vector<int32_t> table_;
};

}  // namespace baton::kernels::cuda
