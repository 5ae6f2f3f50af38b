#include <algorithm>
#include <cmath>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/kv_page/kv_codec.h"

namespace baton::kernels {
namespace {

std::vector<float> ReadGroup(const AttentionParams& params, const PagedSequence& sequence,
                             KvTensor tensor, int head, int position) {
  const KvPageLayout& layout = params.kv.layout;
  const int token = position % layout.page_tokens();
  const std::byte* page = params.kv.Page(sequence.pages[position / layout.page_tokens()]);
  std::vector<float> x(layout.geometry().head_dim);
  DecodeKvGroup(layout.format(tensor), page + layout.CodeOffset(params.layer, tensor, head, token),
                page + layout.ScaleOffset(params.layer, tensor, head, token),
                layout.geometry().head_dim, x.data());
  return x;
}

void AttendRow(const AttentionParams& params, const PagedSequence& sequence, int kv_head,
               int position, const float* q, float* out) {
  const int dim = params.kv.layout.geometry().head_dim;
  const int begin = params.window > 0 ? std::max(0, position - params.window + 1) : 0;
  std::vector<double> scores;
  for (int t = begin; t <= position; ++t) {
    const std::vector<float> k = ReadGroup(params, sequence, KvTensor::kKey, kv_head, t);
    double dot = 0.0;
    for (int d = 0; d < dim; ++d) dot += static_cast<double>(q[d]) * k[d];
    scores.push_back(dot * params.scale);
  }
  const double max = *std::max_element(scores.begin(), scores.end());
  double total = 0.0;
  std::vector<double> sum(dim, 0.0);
  for (int t = begin; t <= position; ++t) {
    const double weight = std::exp(scores[t - begin] - max);
    const std::vector<float> v = ReadGroup(params, sequence, KvTensor::kValue, kv_head, t);
    total += weight;
    for (int d = 0; d < dim; ++d) sum[d] += weight * v[d];
  }
  for (int d = 0; d < dim; ++d) out[d] = static_cast<float>(sum[d] / total);
}

}  // namespace

void AttentionReference(const AttentionParams& params) {
  const KvGeometry& geometry = params.kv.layout.geometry();
  const int group = params.q_heads / geometry.kv_heads;
  for (const PagedSequence& sequence : params.sequences) {
    for (int i = 0; i < sequence.rows; ++i) {
      const int64_t row = sequence.first_row + i;
      for (int head = 0; head < params.q_heads; ++head) {
        AttendRow(params, sequence, head / group, sequence.first_position + i,
                  params.q + row * params.q_stride + head * geometry.head_dim,
                  params.out + row * params.out_stride + head * geometry.head_dim);
      }
    }
  }
}

}  // namespace baton::kernels
