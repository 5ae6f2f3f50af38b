// Reads one block of 16 tokens of a KV head from its page into plain fp32, for inclusion under
// hwy/foreach_target.h.

#if defined(BATON_KERNELS_ATTENTION_READ_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BATON_KERNELS_ATTENTION_READ_INL_H_
#undef BATON_KERNELS_ATTENTION_READ_INL_H_
#else
#define BATON_KERNELS_ATTENTION_READ_INL_H_
#endif

#include <cstddef>
#include <type_traits>

#include "hwy/highway.h"
#include "kernels/attention/attention.h"
#include "kernels/kv_page/kv_codec-inl.h"

#if HWY_TARGET != HWY_SCALAR
HWY_BEFORE_NAMESPACE();
namespace baton::kernels {
namespace HWY_NAMESPACE {

// Codes and scale data of the block's first token; the other tokens follow.
struct BlockSource {
  const std::byte* codes = nullptr;
  const std::byte* scales = nullptr;
};

template <KvFormat F>
void ReadValues(BlockSource source, int head_dim, float* HWY_RESTRICT out) {
  const size_t row = KvCodeBytes(F, head_dim);
  for (int t = 0; t < kAttentionBlockTokens; ++t) {
    DecodeGroup<F>(source.codes + t * row, source.scales + t * KvScaleBytes(F), head_dim,
                   out + t * head_dim);
  }
}

using Quad = hn::Simd<float, 4, 0>;

// Four floats of each of lanes / 4 rows, `step` floats apart, as one vector.
HWY_INLINE hn::Vec<Quad> LoadQuads(Quad d, const float* p, int /*step*/) { return hn::Load(d, p); }
template <size_t kLanes, std::enable_if_t<(kLanes > 4)>* = nullptr>
HWY_INLINE hn::Vec<hn::Simd<float, kLanes, 0>> LoadQuads(hn::Simd<float, kLanes, 0> d,
                                                         const float* p, int step) {
  const hn::Simd<float, kLanes / 2, 0> half;
  constexpr int kUpper = static_cast<int>(kLanes) / 8;  // quads in the lower half
  return hn::Combine(d, LoadQuads(half, p + kUpper * step, step), LoadQuads(half, p, step));
}

// rows[token][dim] -> keys[dim][token]. Each step turns 4 dimensions of as many tokens as a vector
// has lanes.
HWY_INLINE void TransposeBlock(const float* HWY_RESTRICT rows, int head_dim,
                               float* HWY_RESTRICT keys) {
  const KvTag df;
  const hn::Repartition<uint64_t, KvTag> d64;
  for (int first = 0; first < kAttentionBlockTokens; first += kKvLanes) {
    for (int d = 0; d < head_dim; d += 4) {
      const float* p = rows + first * head_dim + d;
      const KvVec a0 = LoadQuads(df, p, 4 * head_dim);
      const KvVec a1 = LoadQuads(df, p + head_dim, 4 * head_dim);
      const KvVec a2 = LoadQuads(df, p + 2 * head_dim, 4 * head_dim);
      const KvVec a3 = LoadQuads(df, p + 3 * head_dim, 4 * head_dim);
      const auto low01 = hn::BitCast(d64, hn::InterleaveLower(df, a0, a1));
      const auto low23 = hn::BitCast(d64, hn::InterleaveLower(df, a2, a3));
      const auto high01 = hn::BitCast(d64, hn::InterleaveUpper(df, a0, a1));
      const auto high23 = hn::BitCast(d64, hn::InterleaveUpper(df, a2, a3));
      float* out = keys + d * kAttentionBlockTokens + first;
      const auto store = [&](int i, auto v) {
        hn::Store(hn::BitCast(df, v), df, out + i * kAttentionBlockTokens);
      };
      store(0, hn::InterleaveLower(d64, low01, low23));
      store(1, hn::InterleaveUpper(d64, low01, low23));
      store(2, hn::InterleaveLower(d64, high01, high23));
      store(3, hn::InterleaveUpper(d64, high01, high23));
    }
  }
}

template <KvFormat F>
void ReadKeys(BlockSource source, int head_dim, float* HWY_RESTRICT out) {
  HWY_ALIGN float rows[kAttentionBlockTokens * KvPageLayout::kMaxHeadDim];
  ReadValues<F>(source, head_dim, rows);
  TransposeBlock(rows, head_dim, out);
}

}  // namespace HWY_NAMESPACE
}  // namespace baton::kernels
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET

#endif  // toggle guard
