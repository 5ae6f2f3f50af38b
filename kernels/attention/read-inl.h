// Reads one block of 16 tokens of a KV head from its page into plain fp32, for inclusion under
// hwy/foreach_target.h.

#if defined(BATON_KERNELS_ATTENTION_READ_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BATON_KERNELS_ATTENTION_READ_INL_H_
#undef BATON_KERNELS_ATTENTION_READ_INL_H_
#else
#define BATON_KERNELS_ATTENTION_READ_INL_H_
#endif

#include <cstddef>
#include <cstdint>

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

// Scale data of the 16 tokens as numbers; zero where the format has none.
struct BlockScales {
  HWY_ALIGN float s[kAttentionBlockTokens] = {};
  HWY_ALIGN float m[kAttentionBlockTokens] = {};
};

template <KvFormat F>
HWY_INLINE void ReadScales(const std::byte* scales, BlockScales& out) {
  const KvTag df;
  const hn::Rebind<uint16_t, KvTag> du16;
  const auto halves = [&](int i) {
    return PromoteFp16(hn::LoadU(du16, reinterpret_cast<const uint16_t*>(scales) + i));
  };
  for (int t = 0; t < kAttentionBlockTokens && KvScaleBytes(F) > 0; t += kKvLanes) {
    if constexpr (KvScaleBytes(F) == 2) {
      hn::Store(halves(t), df, out.s + t);
    } else {
      const KvVec low = halves(2 * t);
      const KvVec high = halves(2 * t + kKvLanes);
      hn::Store(hn::ConcatEven(df, high, low), df, out.s + t);
      hn::Store(hn::ConcatOdd(df, high, low), df, out.m + t);
    }
  }
}

// values[token][dim].
template <KvFormat F>
void ReadValues(BlockSource source, int head_dim, float* HWY_RESTRICT values) {
  const KvTag df;
  BlockScales scales;
  ReadScales<F>(source.scales, scales);
  for (int t = 0; t < kAttentionBlockTokens; ++t) {
    const std::byte* codes = source.codes + t * KvCodeBytes(F, head_dim);
    const KvVec s = hn::Set(df, scales.s[t]);
    const KvVec m = hn::Set(df, scales.m[t]);
    for (int d = 0; d < head_dim; d += kKvLanes) {
      hn::Store(ScaleKv<F>(LoadKvCodes<F>(codes, d), s, m), df, values + t * head_dim + d);
    }
  }
}

// One step of a transposition of n x n elements in n vectors: rotates the 2 log2(n) bits of an
// element's address (row, column) by one. log2(n) steps exchange rows and columns.
template <class D, class V, int n>
HWY_INLINE void TransposeStep(D d, const V (&rows)[n], V (&next)[n]) {
#pragma GCC unroll 16
  for (int i = 0; i < n / 2; ++i) {
    next[2 * i] = hn::InterleaveLower(d, rows[i], rows[i + n / 2]);
    next[2 * i + 1] = hn::InterleaveUpper(d, rows[i], rows[i + n / 2]);
  }
}

// Codes of one byte: 16 bytes of each of 16 tokens -> 16 tokens of each of 16 bytes.
HWY_INLINE void TransposeBytes(const uint8_t* from, size_t step, size_t bytes,
                               uint8_t* HWY_RESTRICT to) {
  const hn::Simd<uint8_t, 16, 0> d;
  const hn::Half<decltype(d)> half;
  hn::Vec<decltype(d)> rows[16];
  hn::Vec<decltype(d)> other[16];
#pragma GCC unroll 16
  for (int t = 0; t < 16; ++t) {
    // The last 8 bytes of a row may be the last of the pool.
    rows[t] = bytes >= 16 ? hn::LoadU(d, from + t * step)
                          : hn::ZeroExtendVector(d, hn::LoadU(half, from + t * step));
  }
  TransposeStep(d, rows, other);
  TransposeStep(d, other, rows);
  TransposeStep(d, rows, other);
  TransposeStep(d, other, rows);
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) hn::Store(rows[i], d, to + 16 * i);
  if (bytes < 16) return;
#pragma GCC unroll 8
  for (int i = 8; i < 16; ++i) hn::Store(rows[i], d, to + 16 * i);
}

// Codes of two bytes: 8 codes of each of 16 tokens -> 16 tokens of each of 8 dimensions.
HWY_INLINE void TransposeHalves(const uint8_t* from, size_t step, uint8_t* HWY_RESTRICT to) {
  const hn::Simd<uint16_t, 8, 0> d;
  uint16_t* out = reinterpret_cast<uint16_t*>(to);
  for (int first = 0; first < 16; first += 8) {
    hn::Vec<decltype(d)> rows[8];
    hn::Vec<decltype(d)> other[8];
#pragma GCC unroll 8
    for (int t = 0; t < 8; ++t) {
      rows[t] = hn::LoadU(d, reinterpret_cast<const uint16_t*>(from + (first + t) * step));
    }
    TransposeStep(d, rows, other);
    TransposeStep(d, other, rows);
    TransposeStep(d, rows, other);
#pragma GCC unroll 8
    for (int i = 0; i < 8; ++i) hn::Store(other[i], d, out + 16 * i + first);
  }
}

// The codes of a block as [dim][token], one or two bytes each; two 4-bit dimensions stay together
// in a byte.
template <KvFormat F>
HWY_INLINE void TransposeCodes(const std::byte* codes, int head_dim, uint8_t* HWY_RESTRICT to) {
  const uint8_t* from = reinterpret_cast<const uint8_t*>(codes);
  const size_t row = KvCodeBytes(F, head_dim);
  for (size_t i = 0; i < row; i += 16) {
    if constexpr (F == KvFormat::kFp16 || F == KvFormat::kBf16) {
      TransposeHalves(from + i, row, to + 16 * i);
    } else {
      TransposeBytes(from + i, row, row - i, to + 16 * i);
    }
  }
}

// keys[dim][token].
template <KvFormat F>
void ReadKeys(BlockSource source, int head_dim, float* HWY_RESTRICT keys) {
  const KvTag df;
  HWY_ALIGN uint8_t codes[kAttentionBlockTokens * KvPageLayout::kMaxHeadDim * 2];
  BlockScales scales;
  TransposeCodes<F>(source.codes, head_dim, codes);
  ReadScales<F>(source.scales, scales);
  const std::byte* from = reinterpret_cast<const std::byte*>(codes);
  for (int t = 0; t < kAttentionBlockTokens; t += kKvLanes) {
    const KvVec s = hn::Load(df, scales.s + t);
    const KvVec m = hn::Load(df, scales.m + t);
    float* out = keys + t;
    if constexpr (F == KvFormat::kInt4) {
      const hn::Rebind<uint8_t, KvTag> du8;
      const hn::Rebind<int32_t, KvTag> di32;
      for (int d = 0; d < head_dim; d += 2, out += 2 * kAttentionBlockTokens) {
        const auto both =
            hn::PromoteTo(di32, hn::Load(du8, codes + d / 2 * kAttentionBlockTokens + t));
        const KvVec even = hn::ConvertTo(df, hn::And(both, hn::Set(di32, 15)));
        const KvVec odd = hn::ConvertTo(df, hn::ShiftRight<4>(both));
        hn::Store(ScaleKv<F>(even, s, m), df, out);
        hn::Store(ScaleKv<F>(odd, s, m), df, out + kAttentionBlockTokens);
      }
    } else {
      for (int d = 0; d < head_dim; ++d, out += kAttentionBlockTokens) {
        const KvVec code = LoadKvCodes<F>(from, d * kAttentionBlockTokens + t);
        hn::Store(ScaleKv<F>(code, s, m), df, out);
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace baton::kernels
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET

#endif  // toggle guard
