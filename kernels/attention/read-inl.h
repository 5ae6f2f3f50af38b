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

// Stores the 128-bit blocks of a vector, `stride` bytes apart.
template <class D, class V>
HWY_INLINE void StoreBlocks(D d, V v, uint8_t* HWY_RESTRICT to, size_t stride) {
  if constexpr (hn::MaxLanes(D()) * sizeof(hn::TFromD<D>) <= 16) {
    hn::StoreU(v, d, reinterpret_cast<hn::TFromD<D>*>(to));
  } else {
    const hn::Half<D> half;
    constexpr size_t kBlocks = hn::MaxLanes(D()) * sizeof(hn::TFromD<D>) / 32;
    StoreBlocks(half, hn::LowerHalf(half, v), to, stride);
    StoreBlocks(half, hn::UpperHalf(half, v), to + kBlocks * stride, stride);
  }
}

// Codes of one byte: kBytes bytes of each of 16 tokens -> 16 tokens of each of kBytes bytes. Of
// 4-bit codes, the two dimensions of a byte become a row each. Every 128-bit block of the vectors
// is a transposition of its own.
template <KvFormat F, int kBytes>
HWY_INLINE void TransposeBytes(const uint8_t* from, size_t step, size_t bytes,
                               uint8_t* HWY_RESTRICT to) {
  const hn::Simd<uint8_t, kBytes, 0> d;
  [[maybe_unused]] const hn::Simd<uint16_t, kBytes / 2, 0> d16;
  [[maybe_unused]] const hn::Half<decltype(d)> half;
  hn::Vec<decltype(d)> rows[16];
  hn::Vec<decltype(d)> other[16];
#pragma GCC unroll 16
  for (int t = 0; t < 16; ++t) {
    if constexpr (kBytes == 16) {
      // The last 8 bytes of a row may be the last of the pool.
      if (bytes < kBytes) {
        rows[t] = hn::ZeroExtendVector(d, hn::LoadU(half, from + t * step));
        continue;
      }
    }
    rows[t] = hn::LoadU(d, from + t * step);
  }
  TransposeStep(d, rows, other);
  TransposeStep(d, other, rows);
  TransposeStep(d, rows, other);
  TransposeStep(d, other, rows);
  const auto store = [&](int i) {
    if constexpr (F == KvFormat::kInt4) {
      StoreBlocks(d, hn::And(rows[i], hn::Set(d, 0x0F)), to + 32 * i, 512);
      const auto high = hn::ShiftRight<4>(hn::BitCast(d16, rows[i]));
      StoreBlocks(d, hn::And(hn::BitCast(d, high), hn::Set(d, 0x0F)), to + 32 * i + 16, 512);
    } else {
      StoreBlocks(d, rows[i], to + 16 * i, 256);
    }
  };
#pragma GCC unroll 8
  for (int i = 0; i < 8; ++i) store(i);
  if (bytes < kBytes) return;
#pragma GCC unroll 8
  for (int i = 8; i < 16; ++i) store(i);
}

// Codes of two bytes: kBytes / 2 codes of each of 16 tokens -> 16 tokens of each of as many
// dimensions.
template <int kBytes>
HWY_INLINE void TransposeHalves(const uint8_t* from, size_t step, uint8_t* HWY_RESTRICT to) {
  const hn::Simd<uint16_t, kBytes / 2, 0> d;
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
    for (int i = 0; i < 8; ++i) StoreBlocks(d, other[i], to + 32 * i + 2 * first, 256);
  }
}

// Transposes the next kBytes of 16 rows, if so many are left and vectors are as wide.
template <KvFormat F, int kBytes>
HWY_INLINE bool TransposeChunk(const uint8_t* from, size_t row, size_t left,
                               uint8_t* HWY_RESTRICT to) {
  if constexpr (kBytes > kKvLanes * 4) {
    return false;
  } else {
    if (left < kBytes && kBytes > 16) return false;
    if constexpr (F == KvFormat::kFp16 || F == KvFormat::kBf16) {
      TransposeHalves<kBytes>(from, row, to);
    } else {
      TransposeBytes<F, kBytes>(from, row, left, to);
    }
    return true;
  }
}

// The codes of a block as [dim][token], one or two bytes each (4-bit codes take a byte).
template <KvFormat F>
HWY_INLINE void TransposeCodes(const std::byte* codes, int head_dim, uint8_t* HWY_RESTRICT to) {
  const uint8_t* from = reinterpret_cast<const uint8_t*>(codes);
  const size_t row = KvCodeBytes(F, head_dim);
  constexpr size_t kSpread = F == KvFormat::kInt4 ? 32 : 16;  // bytes written per byte of a row
  for (size_t i = 0; i < row;) {
    if (TransposeChunk<F, 64>(from + i, row, row - i, to + kSpread * i)) {
      i += 64;
    } else if (TransposeChunk<F, 32>(from + i, row, row - i, to + kSpread * i)) {
      i += 32;
    } else {
      TransposeChunk<F, 16>(from + i, row, row - i, to + kSpread * i);
      i += 16;
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
