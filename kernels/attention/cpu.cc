#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>

#include "kernels/attention/attention.h"
#include "kernels/attention/plan.h"
#include "kernels/numeric/aligned_buffer.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/attention/cpu.cc"
#include "hwy/cache_control.h"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/activation/exp-inl.h"
#include "kernels/attention/read-inl.h"
#include "kernels/attention/tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace baton::kernels {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR

void Attention(const AttentionParams& params, int part, int /*parts*/) {
  if (part == 0) AttentionReference(params);
}

#else

// One tile's computation. Lives on the stack of one launch (about 480 KiB, of which a decode step
// touches little).
class TileRun {
 public:
  TileRun(const AttentionParams& params, const AttentionTile& tile)
      : params_(params),
        tile_(tile),
        sequence_(params.sequences[tile.sequence]),
        head_dim_(params.kv.layout.geometry().head_dim),
        group_(params.q_heads / params.kv.layout.geometry().kv_heads) {}

  void Run() {
    PackQueries();
    const int begin = FirstVisible(Position(0)) / kBlock * kBlock;
    const int end = Position(tile_.rows - 1) + 1;
    std::fill_n(total_max_, tile_.rows, -std::numeric_limits<float>::infinity());
    std::fill_n(total_sum_, tile_.rows, 0.0f);
    for (int t = begin; t < end;) {
      const int span_end = std::min(end, (t / kAttentionSpanTokens + 1) * kAttentionSpanTokens);
      RunSpan(t, span_end);
      MergeSpan(t, span_end);
      t = span_end;
    }
    Normalize();
  }

 private:
  int Position(int row) const { return sequence_.first_position + (tile_.first + row) / group_; }
  int FirstVisible(int position) const {
    return params_.window > 0 ? std::max(0, position - params_.window + 1) : 0;
  }
  int64_t Offset(int row, int64_t stride) const {
    const int flat = tile_.first + row;
    return (sequence_.first_row + flat / group_) * stride +
           static_cast<int64_t>(tile_.kv_head * group_ + flat % group_) * head_dim_;
  }
  Visible VisibleIn(int position, int block_start) const {
    return {std::clamp(FirstVisible(position) - block_start, 0, kBlock),
            std::clamp(position + 1 - block_start, 0, kBlock)};
  }

  // Scaled here once, not per score.
  void PackQueries() {
    const KvTag df;
    const KvVec scale = hn::Set(df, params_.scale);
    for (int r = 0; r < tile_.rows; ++r) {
      const float* q = params_.q + Offset(r, params_.q_stride);
      for (int d = 0; d < head_dim_; d += kKvLanes) {
        hn::Store(hn::Mul(hn::LoadU(df, q + d), scale), df, q_ + r * kQStride + d);
      }
    }
  }

  BlockSource Source(KvTensor tensor, int token) const {
    const KvPageLayout& layout = params_.kv.layout;
    const std::byte* page = params_.kv.Page(sequence_.pages[token / layout.page_tokens()]);
    const int in_page = token % layout.page_tokens();
    return {page + layout.CodeOffset(params_.layer, tensor, tile_.kv_head, in_page),
            page + layout.ScaleOffset(params_.layer, tensor, tile_.kv_head, in_page)};
  }

  void RunSpan(int begin, int end) {
    std::fill_n(max_, tile_.rows, -std::numeric_limits<float>::infinity());
    std::fill_n(sum_, tile_.rows * kBlock, 0.0f);
    for (int r = 0; r < tile_.rows; ++r) std::fill_n(acc_ + r * kAccStride, head_dim_, 0.0f);
    for (int t = begin; t < end; t += kPairTokens) {
      const int blocks = end - t > kBlock ? 2 : 1;
      if (direct()) Prefetch(t + kPairTokens, std::min(end, t + 2 * kPairTokens));
      for (int b = 0; b < blocks; ++b) ReadBlock(t + b * kBlock, b);
      for (int r = 0; r < tile_.rows; r += kScoreRows) {
        StepRows(r, std::min(kScoreRows, tile_.rows - r), t, blocks);
      }
    }
  }

  // Asks for the tokens of the next pair. A few rows are done with a pair before the next one comes
  // from memory, and hardware prefetchers stop at every border of a page.
  void Prefetch(int begin, int end) const {
    for (int t = begin; t < end; t += kBlock) {
      for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
        const BlockSource source = Source(tensor, t);
        const size_t bytes = params_.kv.layout.code_bytes(tensor) * kBlock;
        for (size_t i = 0; i < bytes; i += kCacheLineBytes) {
          hwy::Prefetch(source.codes + i);
        };
        hwy::Prefetch(source.scales);
      }
    }
  }

  bool direct() const { return tile_.rows <= kDirectRows; }

  void ReadBlock(int token, int b) {
    const KvFormats formats = params_.kv.layout.formats();
    WithKvFormat(formats.k, [&]<KvFormat F>() {
      PrepareKeys<F>(Source(KvTensor::kKey, token), head_dim_, b, pair_);
      if (!direct()) ExpandKeys<F>(pair_, head_dim_, b, keys_ + b * kBlock * head_dim_);
    });
    WithKvFormat(formats.v, [&]<KvFormat F>() {
      PrepareValues<F>(Source(KvTensor::kValue, token), b, pair_);
      if (!direct()) ExpandValues<F>(pair_, head_dim_, b, values_ + b * kBlock * head_dim_);
    });
  }

  // One pair of blocks for a few rows: scores, softmax, weighted sum.
  void StepRows(int first, int rows, int pair_start, int blocks) {
    const int last = Position(first + rows - 1);
    if (pair_start > last) return;
    if (pair_start + kBlock > last) blocks = 1;
    HWY_ALIGN float scores[kScoreRows * kPairTokens];
    RowStep steps[kScoreRows];
    Score(first, rows, blocks, scores);
    for (int r = 0; r < rows; ++r) {
      for (int b = 0; b < blocks; ++b) {
        const Visible visible = VisibleIn(Position(first + r), pair_start + b * kBlock);
        steps[r].visible[b] = visible;
        steps[r].rescale[b] = visible.empty()
                                  ? 1.0f
                                  : SoftmaxBlock(visible, scores + r * kPairTokens + b * kBlock,
                                                 max_[first + r], sum_ + (first + r) * kBlock);
      }
    }
    Weigh(first, rows, blocks, scores, steps);
  }

  void Score(int first, int rows, int blocks, float* scores) const {
    const float* q = q_ + first * kQStride;
    if (!direct()) {
      const PlainKeys keys{keys_, kBlock * head_dim_};
      ScoreRows<kScoreRows>(q, keys, head_dim_, rows, blocks, scores);
      return;
    }
    WithKvFormat(params_.kv.layout.formats().k, [&]<KvFormat F>() {
      ScoreRows<kDirectRows>(q, CodedKeys<F>{pair_}, head_dim_, rows, blocks, scores);
    });
  }

  void Weigh(int first, int rows, int blocks, const float* weights, const RowStep* steps) {
    float* acc = acc_ + first * kAccStride;
    if (!direct()) {
      const PlainValues values{values_, head_dim_};
      SumRows<kSumRows>(weights, values, head_dim_, steps, blocks, rows, acc);
      return;
    }
    WithKvFormat(params_.kv.layout.formats().v, [&]<KvFormat F>() {
      const CodedValues<F> values{pair_, KvCodeBytes(F, head_dim_)};
      SumRows<kDirectRows>(weights, values, head_dim_, steps, blocks, rows, acc);
    });
  }

  // Brings the span's result into the running total, which lies in the output rows.
  void MergeSpan(int begin, int end) {
    const KvTag df;
    for (int r = 0; r < tile_.rows; ++r) {
      const int position = Position(r);
      if (position < begin || FirstVisible(position) >= end) continue;
      float sum = 0.0f;
      for (int i = 0; i < kBlock; ++i) sum += sum_[r * kBlock + i];
      const bool first = FirstVisible(position) >= begin;
      const float max = first || max_[r] > total_max_[r] ? max_[r] : total_max_[r];
      const float old_factor = first ? 0.0f : Factor(total_max_[r], max);
      const float new_factor = Factor(max_[r], max);
      float* out = params_.out + Offset(r, params_.out_stride);
      const float* acc = acc_ + r * kAccStride;
      for (int d = 0; d < head_dim_; d += kKvLanes) {
        const KvVec old = first ? hn::Zero(df) : hn::LoadU(df, out + d);
        const KvVec scaled = hn::Mul(hn::Load(df, acc + d), hn::Set(df, new_factor));
        hn::StoreU(hn::MulAdd(old, hn::Set(df, old_factor), scaled), df, out + d);
      }
      total_sum_[r] = total_sum_[r] * old_factor + sum * new_factor;
      total_max_[r] = max;
    }
  }

  static float Factor(float from, float to) {
    return from == to ? 1.0f : hn::GetLane(Exp(KvTag(), hn::Set(KvTag(), from - to)));
  }

  void Normalize() {
    const KvTag df;
    for (int r = 0; r < tile_.rows; ++r) {
      const KvVec inverse = hn::Set(df, 1.0f / total_sum_[r]);
      float* out = params_.out + Offset(r, params_.out_stride);
      for (int d = 0; d < head_dim_; d += kKvLanes) {
        hn::StoreU(hn::Mul(hn::LoadU(df, out + d), inverse), df, out + d);
      }
    }
  }

  const AttentionParams& params_;
  const AttentionTile& tile_;
  const PagedSequence& sequence_;
  const int head_dim_;
  const int group_;
  HWY_ALIGN float q_[kAttentionTileRows * kQStride];
  HWY_ALIGN float acc_[kAttentionTileRows * kAccStride];  // of the current span
  HWY_ALIGN float sum_[kAttentionTileRows * kBlock];      // of weights, per token lane
  HWY_ALIGN float keys_[kPairTokens * KvPageLayout::kMaxHeadDim];
  HWY_ALIGN float values_[kPairTokens * KvPageLayout::kMaxHeadDim];
  CodedPair pair_;
  float max_[kAttentionTileRows];
  float total_max_[kAttentionTileRows];
  float total_sum_[kAttentionTileRows];
};

HWY_NOINLINE void RunTile(const AttentionParams& params, const AttentionTile& tile) {
  TileRun(params, tile).Run();
}

void Attention(const AttentionParams& params, int part, int parts) {
  for (const AttentionTile& tile : PlanAttention(params, part, parts)) RunTile(params, tile);
}

#endif  // HWY_TARGET

}  // namespace HWY_NAMESPACE
}  // namespace baton::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace baton::kernels {

HWY_EXPORT(Attention);

void AttentionCpu(const AttentionParams& params, int part, int parts) {
  HWY_DYNAMIC_DISPATCH(Attention)(params, part, parts);
}

}  // namespace baton::kernels
#endif  // HWY_ONCE
