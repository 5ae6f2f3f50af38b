// Reads a pair of blocks of a KV head from their pages: as codes ready for use (keys transposed,
// scales as numbers), or expanded into plain fp32. For inclusion under hwy/foreach_target.h.

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
#include "kernels/attention/tile-inl.h"
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
  HWY_ALIGN float s[kBlock] = {};
  HWY_ALIGN float m[kBlock] = {};
};

template <KvFormat F>
HWY_INLINE void ReadScales(const std::byte* scales, BlockScales& out) {
  const KvTag df;
  const hn::Rebind<uint16_t, KvTag> du16;
  const auto halves = [&](int i) {
    return PromoteFp16(hn::LoadU(du16, reinterpret_cast<const uint16_t*>(scales) + i));
  };
  for (int t = 0; t < kBlock && KvScaleBytes(F) > 0; t += kKvLanes) {
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

// Codes of one byte: 16 bytes of each of 16 tokens -> 16 tokens of each of 16 bytes. Of 4-bit
// codes, the two dimensions of a byte become a row each.
template <KvFormat F>
HWY_INLINE void TransposeBytes(const uint8_t* from, size_t step, size_t bytes,
                               uint8_t* HWY_RESTRICT to) {
  const hn::Simd<uint8_t, 16, 0> d;
  [[maybe_unused]] const hn::Simd<uint16_t, 8, 0> d16;
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
  const auto store = [&](int i) {
    if constexpr (F == KvFormat::kInt4) {
      hn::Store(hn::And(rows[i], hn::Set(d, 0x0F)), d, to + 32 * i);
      const auto high = hn::ShiftRight<4>(hn::BitCast(d16, rows[i]));
      hn::Store(hn::And(hn::BitCast(d, high), hn::Set(d, 0x0F)), d, to + 32 * i + 16);
    } else {
      hn::Store(rows[i], d, to + 16 * i);
    }
  };
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) store(i);
  if (bytes < 16) return;
#pragma GCC unroll 8
  for (int i = 8; i < 16; ++i) store(i);
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

// The codes of a block as [dim][token], one or two bytes each (4-bit codes take a byte).
template <KvFormat F>
HWY_INLINE void TransposeCodes(const std::byte* codes, int head_dim, uint8_t* HWY_RESTRICT to) {
  const uint8_t* from = reinterpret_cast<const uint8_t*>(codes);
  const size_t row = KvCodeBytes(F, head_dim);
  for (size_t i = 0; i < row; i += 16) {
    if constexpr (F == KvFormat::kFp16 || F == KvFormat::kBf16) {
      TransposeHalves(from + i, row, to + 16 * i);
    } else {
      TransposeBytes<F>(from + i, row, row - i, to + (F == KvFormat::kInt4 ? 32 : 16) * i);
    }
  }
}

// A pair of blocks as codes: keys transposed, values where they lie in their pages.
struct CodedPair {
  HWY_ALIGN uint8_t key_codes[kPairBlocks][kBlock * KvPageLayout::kMaxHeadDim * 2];
  BlockScales key_scales[kPairBlocks];
  const std::byte* value_codes[kPairBlocks] = {};
  BlockScales value_scales[kPairBlocks];
};

template <KvFormat F>
void PrepareKeys(BlockSource source, int head_dim, int block, CodedPair& pair) {
  TransposeCodes<F>(source.codes, head_dim, pair.key_codes[block]);
  ReadScales<F>(source.scales, pair.key_scales[block]);
}

template <KvFormat F>
void PrepareValues(BlockSource source, int block, CodedPair& pair) {
  pair.value_codes[block] = source.codes;
  ReadScales<F>(source.scales, pair.value_scales[block]);
}

// The views of PlainKeys and PlainValues over codes.
template <KvFormat F>
struct CodedKeys {
  const CodedPair& pair;

  HWY_INLINE KvVec Get(int block, int d, int v) const {
    const KvTag df;
    constexpr KvFormat kStored = F == KvFormat::kInt4 ? KvFormat::kInt8 : F;
    const std::byte* codes = reinterpret_cast<const std::byte*>(pair.key_codes[block]);
    const BlockScales& scales = pair.key_scales[block];
    return ScaleKv<F>(LoadKvCodes<kStored>(codes, d * kBlock + v * kKvLanes),
                      hn::Load(df, scales.s + v * kKvLanes), hn::Load(df, scales.m + v * kKvLanes));
  }
};

template <KvFormat F>
struct CodedValues {
  const CodedPair& pair;
  size_t row_bytes = 0;

  HWY_INLINE KvVec Get(int token, int d) const {
    const KvTag df;
    const int block = token / kBlock;
    const int t = token % kBlock;
    const BlockScales& scales = pair.value_scales[block];
    return ScaleKv<F>(LoadKvCodes<F>(pair.value_codes[block] + t * row_bytes, d),
                      hn::Set(df, scales.s[t]), hn::Set(df, scales.m[t]));
  }
};

// Writes what PlainKeys reads.
template <KvFormat F>
void ExpandKeys(const CodedPair& pair, int head_dim, int block, float* HWY_RESTRICT keys) {
  const CodedKeys<F> coded{pair};
  for (int d = 0; d < head_dim; ++d) {
    for (int v = 0; v < kBlockVecs; ++v) {
      hn::Store(coded.Get(block, d, v), KvTag(), keys + d * kBlock + v * kKvLanes);
    }
  }
}

// Writes what PlainValues reads.
template <KvFormat F>
void ExpandValues(const CodedPair& pair, int head_dim, int block, float* HWY_RESTRICT values) {
  const CodedValues<F> coded{pair, KvCodeBytes(F, head_dim)};
  for (int t = 0; t < kBlock; ++t) {
    for (int d = 0; d < head_dim; d += kKvLanes) {
      hn::Store(coded.Get(block * kBlock + t, d), KvTag(), values + t * head_dim + d);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace baton::kernels
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET

#endif  // toggle guard
