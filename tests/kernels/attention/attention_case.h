#pragma once

#include <cmath>
#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "kernels/attention/attention.h"
#include "tests/kernels/kv_page/targets.h"
#include "tests/kernels/kv_page/test_cache.h"

namespace baton::kernels {

struct AttentionShape {
  int q_heads = 4;
  int kv_heads = 2;
  int head_dim = 64;
  int page_tokens = 16;
  KvFormats formats;
  int window = 0;
};

// One sequence of `tokens` random tokens and one query for each of its positions. Queries, keys and
// values depend on the shape's heads and head_dim only, so results of different page sizes can be
// compared.
class AttentionCase {
 public:
  AttentionCase(const AttentionShape& shape, int tokens, uint32_t seed = 50)
      : shape_(shape),
        width_(shape.q_heads * shape.head_dim),
        cache_({2, shape.kv_heads, shape.head_dim}, shape.formats, shape.page_tokens, tokens),
        q_(RandomFloats(static_cast<size_t>(tokens) * width_, seed)) {
    cache_.FillRandom(1, tokens, seed + 1);
  }

  TestCache& cache() { return cache_; }
  std::vector<float>& queries() { return q_; }
  int width() const { return width_; }

  // Rows of positions [first, first + count) computed in one launch as chunks given by (first,
  // count), all in one batch.
  std::vector<float> Run(const std::vector<std::pair<int, int>>& chunks, int parts) {
    std::vector<PagedSequence> sequences;
    std::vector<float> q;
    int rows = 0;
    for (const auto& [first, count] : chunks) {
      sequences.push_back({cache_.pages.data(), first, count, rows});
      q.insert(q.end(), q_.begin() + first * width_, q_.begin() + (first + count) * width_);
      rows += count;
    }
    std::vector<float> out(static_cast<size_t>(rows) * width_, 123.0f);
    const AttentionParams params{.q = q.data(),
                                 .q_stride = width_,
                                 .out = out.data(),
                                 .out_stride = width_,
                                 .q_heads = shape_.q_heads,
                                 .scale = 1.0f / std::sqrt(static_cast<float>(shape_.head_dim)),
                                 .window = shape_.window,
                                 .kv = cache_.kv(),
                                 .layer = 1,
                                 .sequences = sequences};
    if (parts == 0) {
      AttentionReference(params);
    } else {
      RunParts(AttentionCpu, params, parts);
    }
    return out;
  }

 private:
  AttentionShape shape_;
  int width_;
  TestCache cache_;
  std::vector<float> q_;
};

// Bits of the rows computed in other ways must equal those of one launch over everything.
inline bool SameBits(const std::vector<float>& a, const std::vector<float>& b) {
  return a.size() == b.size() && std::memcmp(a.data(), b.data(), a.size() * sizeof(float)) == 0;
}

}  // namespace baton::kernels
