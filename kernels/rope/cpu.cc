#include <algorithm>
#include <cstddef>
#include <cstdint>

#include "kernels/numeric/partition.h"
#include "kernels/rope/rope.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/rope/cpu.cc"
#include "hwy/foreach_target.h"
#include "hwy/highway.h"
#include "kernels/kv_page/kv_codec-inl.h"

HWY_BEFORE_NAMESPACE();
namespace baton::kernels {
namespace HWY_NAMESPACE {

#if HWY_TARGET == HWY_SCALAR

void Rope(const RopeParams& params, int part, int /*parts*/) {
  if (part == 0) RopeReference(params);
}

void KvWrite(const KvWriteParams& params, int part, int /*parts*/) {
  if (part == 0) KvWriteReference(params);
}

#else

// No fused multiply-add: the same bits as the scalar form on every target.
HWY_INLINE void Rotate(const float* x, const float* HWY_RESTRICT cos, const float* HWY_RESTRICT sin,
                       int pairs, float* out) {
  const KvTag df;
  int i = 0;
  for (; i + kKvLanes <= pairs; i += kKvLanes) {
    const KvVec a = hn::LoadU(df, x + i);
    const KvVec b = hn::LoadU(df, x + i + pairs);
    const KvVec c = hn::LoadU(df, cos + i);
    const KvVec s = hn::LoadU(df, sin + i);
    hn::StoreU(hn::Sub(hn::Mul(a, c), hn::Mul(b, s)), df, out + i);
    hn::StoreU(hn::Add(hn::Mul(b, c), hn::Mul(a, s)), df, out + i + pairs);
  }
  for (; i < pairs; ++i) {
    const float a = x[i];
    const float b = x[i + pairs];
    out[i] = a * cos[i] - b * sin[i];
    out[i + pairs] = b * cos[i] + a * sin[i];
  }
}

void Rope(const RopeParams& params, int part, int parts) {
  const Range rows = Partition(params.rows, part, parts);
  for (int64_t row = rows.begin; row < rows.end; ++row) {
    for (int head = 0; head < params.heads; ++head) {
      float* x = params.x + row * params.x_stride + head * params.head_dim;
      Rotate(x, params.cos + row * params.pairs, params.sin + row * params.pairs, params.pairs, x);
    }
  }
}

template <KvFormat F>
void WriteHeads(const KvWriteParams& params, KvTensor tensor, int64_t row, std::byte* page,
                int token) {
  const KvPageLayout& layout = params.kv.layout;
  const int dim = layout.geometry().head_dim;
  const bool key = tensor == KvTensor::kKey;
  HWY_ALIGN float rotated[KvPageLayout::kMaxHeadDim];
  for (int head = 0; head < layout.geometry().kv_heads; ++head) {
    const float* x =
        (key ? params.k + row * params.k_stride : params.v + row * params.v_stride) + head * dim;
    if (key && params.pairs > 0) {
      for (int d = 2 * params.pairs; d < dim; ++d) rotated[d] = x[d];
      Rotate(x, params.cos + row * params.pairs, params.sin + row * params.pairs, params.pairs,
             rotated);
      x = rotated;
    }
    EncodeGroup<F>(x, dim, page + layout.CodeOffset(params.layer, tensor, head, token),
                   page + layout.ScaleOffset(params.layer, tensor, head, token));
  }
}

// Rows are counted through the whole batch, so that parts get equal shares of a ragged one.
template <KvFormat F>
void WriteTensor(const KvWriteParams& params, KvTensor tensor, int part, int parts) {
  int64_t total = 0;
  for (const PagedSequence& sequence : params.sequences) total += sequence.rows;
  const Range share = Partition(total, part, parts);
  const int page_tokens = params.kv.layout.page_tokens();
  int64_t first = 0;
  for (const PagedSequence& sequence : params.sequences) {
    const int64_t begin = std::max<int64_t>(share.begin - first, 0);
    const int64_t end = std::min<int64_t>(share.end - first, sequence.rows);
    for (int64_t i = begin; i < end; ++i) {
      const int64_t position = sequence.first_position + i;
      WriteHeads<F>(params, tensor, sequence.first_row + i,
                    params.kv.Page(sequence.pages[position / page_tokens]),
                    static_cast<int>(position % page_tokens));
    }
    first += sequence.rows;
  }
}

void KvWrite(const KvWriteParams& params, int part, int parts) {
  for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
    WithKvFormat(params.kv.layout.format(tensor),
                 [&]<KvFormat F>() { WriteTensor<F>(params, tensor, part, parts); });
  }
}

#endif  // HWY_TARGET

}  // namespace HWY_NAMESPACE
}  // namespace baton::kernels
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace baton::kernels {

HWY_EXPORT(Rope);
HWY_EXPORT(KvWrite);

void RopeCpu(const RopeParams& params, int part, int parts) {
  HWY_DYNAMIC_DISPATCH(Rope)(params, part, parts);
}

void KvWriteCpu(const KvWriteParams& params, int part, int parts) {
  HWY_DYNAMIC_DISPATCH(KvWrite)(params, part, parts);
}

}  // namespace baton::kernels
#endif  // HWY_ONCE
