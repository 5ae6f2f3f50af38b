// The arithmetic of attention on one group of query rows and two blocks of KV in plain fp32, for
// inclusion under hwy/foreach_target.h. Keys lie transposed ([dim][16 tokens]), so that a score is
// one chain of FMAs over the dimensions and a vector holds the scores of neighbouring tokens;
// values lie as [token][dim].

#if defined(BATON_KERNELS_ATTENTION_TILE_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef BATON_KERNELS_ATTENTION_TILE_INL_H_
#undef BATON_KERNELS_ATTENTION_TILE_INL_H_
#else
#define BATON_KERNELS_ATTENTION_TILE_INL_H_
#endif

#include <algorithm>
#include <limits>

#include "hwy/highway.h"
#include "kernels/activation/exp-inl.h"
#include "kernels/attention/attention.h"
#include "kernels/kv_page/kv_codec-inl.h"

#if HWY_TARGET != HWY_SCALAR
HWY_BEFORE_NAMESPACE();
namespace baton::kernels {
namespace HWY_NAMESPACE {

inline constexpr int kBlock = kAttentionBlockTokens;
inline constexpr int kBlockVecs = kBlock / kKvLanes;
inline constexpr int kPairBlocks = 2;  // blocks read at a time
inline constexpr int kPairTokens = kPairBlocks * kBlock;
inline constexpr int kQStride = KvPageLayout::kMaxHeadDim + 16;  // spreads rows over cache sets
inline constexpr int kAccStride = KvPageLayout::kMaxHeadDim;
// Register tiles: accumulators, operands and a broadcast fit 32 (AVX-512) or 16 registers.
inline constexpr int kScoreRows = kKvLanes == 16 ? 12 : (kKvLanes == 8 ? 6 : 3);
inline constexpr int kScoreBlocks = kKvLanes == 16 ? 2 : 1;
inline constexpr int kSumRows = kKvLanes == 16 ? 6 : (kKvLanes == 8 ? 6 : 3);
// Up to this many rows, codes are converted where they are used instead of through memory.
inline constexpr int kDirectRows = kKvLanes == 4 ? 3 : 4;
inline constexpr int kSumVecs = kKvLanes == 16 ? 4 : (kKvLanes == 8 ? 2 : 4);

// Tokens [begin, end) of a block that a row sees.
struct Visible {
  int begin = 0;
  int end = 0;

  bool empty() const { return begin >= end; }
  bool full() const { return begin == 0 && end == kBlock; }
  bool operator==(const Visible&) const = default;
};

// What one pair of blocks does to one row.
struct RowStep {
  Visible visible[kPairBlocks];
  float rescale[kPairBlocks];  // factor of the sums so far; 1 when the maximum stayed
};

// Keys and values of a pair of blocks in plain fp32; read-inl.h has the same views of codes.
struct PlainKeys {
  const float* keys = nullptr;  // [block][dim][token]
  int block_stride = 0;

  // Tokens of vector `v` of a block, dimension `d`.
  HWY_INLINE KvVec Get(int block, int d, int v) const {
    return hn::Load(KvTag(), keys + block * block_stride + d * kBlock + v * kKvLanes);
  }
};
struct PlainValues {
  const float* values = nullptr;  // [block][token][dim]
  int head_dim = 0;

  // Dimensions from `d` on of a token of the pair.
  HWY_INLINE KvVec Get(int token, int d) const {
    return hn::Load(KvTag(), values + token * head_dim + d);
  }
};

// scores[r][token] = sum over d of q[r][d] * keys[d][token], d ascending, for kRows rows and
// kBlocks blocks.
template <int kRows, int kBlocks, class Keys>
HWY_INLINE void Scores(const float* HWY_RESTRICT q, const Keys& keys, int first_block, int head_dim,
                       float* HWY_RESTRICT scores) {
  const KvTag df;
  constexpr int kVecs = kBlocks * kBlockVecs;
  KvVec acc[kRows][kVecs];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) acc[r][v] = hn::Zero(df);
  }
  for (int d = 0; d < head_dim; ++d) {
    KvVec k[kVecs];
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) {
      k[v] = keys.Get(first_block + v / kBlockVecs, d, v % kBlockVecs);
    }
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) {
      const KvVec a = hn::Set(df, q[r * kQStride + d]);
#pragma GCC unroll 16
      for (int v = 0; v < kVecs; ++v) acc[r][v] = hn::MulAdd(a, k[v], acc[r][v]);
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v)
      hn::Store(acc[r][v], df, scores + r * kPairTokens + v * kKvLanes);
  }
}

// Scores of `rows` rows and `blocks` blocks, in register tiles of kRows or less.
template <int kRows, class Keys>
HWY_INLINE void ScoreRows(const float* q, const Keys& keys, int head_dim, int rows, int blocks,
                          float* scores) {
  while (rows >= kRows) {
    if (kScoreBlocks == 2 && blocks == 2) {
      Scores<kRows, kScoreBlocks>(q, keys, 0, head_dim, scores);
    } else {
      for (int b = 0; b < blocks; ++b) {
        Scores<kRows, 1>(q, keys, b, head_dim, scores + b * kBlock);
      }
    }
    q += kRows * kQStride;
    scores += kRows * kPairTokens;
    rows -= kRows;
  }
  if constexpr (kRows > 1) {
    constexpr int kNext = kRows > 8 ? 8 : (kRows > 4 ? 4 : (kRows > 2 ? 2 : 1));
    if (rows > 0) ScoreRows<kNext>(q, keys, head_dim, rows, blocks, scores);
  }
}

// One block of the online softmax of one row: scores become weights exp(score - max), `max` and the
// per-lane sums `total` are brought forward. Returns the factor for everything summed before.
HWY_INLINE float SoftmaxBlock(Visible visible, float* HWY_RESTRICT scores, float& max,
                              float* HWY_RESTRICT total) {
  const KvTag df;
  KvVec s[kBlockVecs];
  hn::Mask<KvTag> mask[kBlockVecs];
  KvVec best = hn::Set(df, -std::numeric_limits<float>::infinity());
#pragma GCC unroll 4
  for (int v = 0; v < kBlockVecs; ++v) {
    const auto lanes = [v](int n) {
      return hn::FirstN(KvTag(), static_cast<size_t>(std::clamp(n - v * kKvLanes, 0, kKvLanes)));
    };
    s[v] = hn::Load(df, scores + v * kKvLanes);
    if (!visible.full()) {
      mask[v] = hn::AndNot(lanes(visible.begin), lanes(visible.end));
      s[v] = hn::IfThenElse(mask[v], s[v], hn::Set(df, -std::numeric_limits<float>::infinity()));
    }
    best = hn::Max(best, s[v]);
  }
  const float block_max = hn::GetLane(hn::MaxOfLanes(df, best));
  const float before = max;
  max = block_max > before ? block_max : before;
  const float rescale = max == before ? 1.0f : hn::GetLane(Exp(df, hn::Set(df, before - max)));
#pragma GCC unroll 4
  for (int v = 0; v < kBlockVecs; ++v) {
    KvVec p = Exp(df, hn::Sub(s[v], hn::Set(df, max)));
    if (!visible.full()) p = hn::IfThenElseZero(mask[v], p);
    hn::Store(p, df, scores + v * kKvLanes);
    float* sum = total + v * kKvLanes;
    hn::Store(hn::MulAdd(hn::Load(df, sum), hn::Set(df, rescale), p), df, sum);
  }
  return rescale;
}

// acc[r] = acc[r] * rescale + sum over visible tokens of weight * value, tokens ascending, for
// kRows rows with the same visible tokens and kVecs vectors of dimensions.
template <int kRows, int kVecs, class Values>
HWY_INLINE void Sum(const float* HWY_RESTRICT weights, const Values& values, int first_dim,
                    const RowStep* steps, int blocks, float* HWY_RESTRICT acc) {
  const KvTag df;
  KvVec a[kRows][kVecs];
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) a[r][v] = hn::Load(df, acc + r * kAccStride + v * kKvLanes);
  }
  for (int b = 0; b < blocks; ++b) {
    const Visible visible = steps[0].visible[b];
    if (visible.empty()) continue;
    bool moved = false;
#pragma GCC unroll 16
    for (int r = 0; r < kRows; ++r) moved |= steps[r].rescale[b] != 1.0f;
    if (moved) {
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const KvVec factor = hn::Set(df, steps[r].rescale[b]);
#pragma GCC unroll 16
        for (int v = 0; v < kVecs; ++v) a[r][v] = hn::Mul(a[r][v], factor);
      }
    }
    for (int t = b * kBlock + visible.begin; t < b * kBlock + visible.end; ++t) {
      KvVec x[kVecs];
#pragma GCC unroll 16
      for (int v = 0; v < kVecs; ++v) x[v] = values.Get(t, first_dim + v * kKvLanes);
#pragma GCC unroll 16
      for (int r = 0; r < kRows; ++r) {
        const KvVec w = hn::Set(df, weights[r * kPairTokens + t]);
#pragma GCC unroll 16
        for (int v = 0; v < kVecs; ++v) a[r][v] = hn::MulAdd(w, x[v], a[r][v]);
      }
    }
  }
#pragma GCC unroll 16
  for (int r = 0; r < kRows; ++r) {
#pragma GCC unroll 16
    for (int v = 0; v < kVecs; ++v) hn::Store(a[r][v], df, acc + r * kAccStride + v * kKvLanes);
  }
}

template <int kRows, class Values>
HWY_INLINE void SumDims(const float* weights, const Values& values, int head_dim,
                        const RowStep* steps, int blocks, float* acc) {
  int d = 0;
  for (; d + kSumVecs * kKvLanes <= head_dim; d += kSumVecs * kKvLanes) {
    Sum<kRows, kSumVecs>(weights, values, d, steps, blocks, acc + d);
  }
  for (; d < head_dim; d += kKvLanes) Sum<kRows, 1>(weights, values, d, steps, blocks, acc + d);
}

// Rows that see the same tokens go through a register tile together, others one by one.
template <int kRows, class Values>
HWY_INLINE void SumRows(const float* weights, const Values& values, int head_dim,
                        const RowStep* steps, int blocks, int rows, float* acc) {
  while (rows >= kRows) {
    bool same = true;
    for (int r = 1; r < kRows; ++r) {
      for (int b = 0; b < blocks; ++b) same &= steps[r].visible[b] == steps[0].visible[b];
    }
    if (same) {
      SumDims<kRows>(weights, values, head_dim, steps, blocks, acc);
    } else {
      for (int r = 0; r < kRows; ++r) {
        SumDims<1>(weights + r * kPairTokens, values, head_dim, steps + r, blocks,
                   acc + r * kAccStride);
      }
    }
    weights += kRows * kPairTokens;
    steps += kRows;
    acc += kRows * kAccStride;
    rows -= kRows;
  }
  if constexpr (kRows > 1) {
    constexpr int kNext = kRows > 4 ? 4 : (kRows > 2 ? 2 : 1);
    if (rows > 0) SumRows<kNext>(weights, values, head_dim, steps, blocks, rows, acc);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace baton::kernels
HWY_AFTER_NAMESPACE();
#endif  // HWY_TARGET

#endif  // toggle guard
