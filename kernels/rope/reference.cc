#include <algorithm>
#include <vector>

#include "kernels/kv_page/kv_codec.h"
#include "kernels/rope/rope.h"

namespace baton::kernels {
namespace {

// Products and sum are rounded one by one, as in the published models' code.
void Rotate(float* x, const float* cos, const float* sin, int pairs) {
  for (int i = 0; i < pairs; ++i) {
    const float a = x[i];
    const float b = x[i + pairs];
    x[i] = a * cos[i] - b * sin[i];
    x[i + pairs] = b * cos[i] + a * sin[i];
  }
}

}  // namespace

void RopeReference(const RopeParams& params) {
  for (int row = 0; row < params.rows; ++row) {
    for (int head = 0; head < params.heads; ++head) {
      Rotate(params.x + row * params.x_stride + head * params.head_dim,
             params.cos + static_cast<int64_t>(row) * params.pairs,
             params.sin + static_cast<int64_t>(row) * params.pairs, params.pairs);
    }
  }
}

void KvWriteReference(const KvWriteParams& params) {
  const KvPageLayout& layout = params.kv.layout;
  const int dim = layout.geometry().head_dim;
  std::vector<float> k(dim);
  for (const PagedSequence& sequence : params.sequences) {
    for (int i = 0; i < sequence.rows; ++i) {
      const int64_t row = sequence.first_row + i;
      const int position = sequence.first_position + i;
      std::byte* page = params.kv.Page(sequence.pages[position / layout.page_tokens()]);
      const int token = position % layout.page_tokens();
      for (int head = 0; head < layout.geometry().kv_heads; ++head) {
        const float* source = params.k + row * params.k_stride + head * dim;
        std::copy(source, source + dim, k.begin());
        Rotate(k.data(), params.cos + row * params.pairs, params.sin + row * params.pairs,
               params.pairs);
        EncodeKvGroup(layout.formats().k, k.data(), dim,
                      page + layout.CodeOffset(params.layer, KvTensor::kKey, head, token),
                      page + layout.ScaleOffset(params.layer, KvTensor::kKey, head, token));
        EncodeKvGroup(layout.formats().v, params.v + row * params.v_stride + head * dim, dim,
                      page + layout.CodeOffset(params.layer, KvTensor::kValue, head, token),
                      page + layout.ScaleOffset(params.layer, KvTensor::kValue, head, token));
      }
    }
  }
}

}  // namespace baton::kernels
