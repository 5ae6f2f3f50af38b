#include "common/calibrate/layer_pass.h"

#include <algorithm>
#include <cmath>

#include "common/quant/algorithms/nearest.h"
#include "kernels/activation/activation.h"
#include "kernels/norm/norm.h"
#include "kernels/numeric/partition.h"
#include "kernels/rope/rope.h"

namespace baton {
namespace {

int64_t QueryWidth(const ModelConfig& c) { return int64_t{c.heads} * c.head_dim; }
int64_t KeyWidth(const ModelConfig& c) { return int64_t{c.kv_heads} * c.head_dim; }

}  // namespace

LayerPass::LayerPass(const ModelConfig& config, int64_t window, Parallel parallel)
    : config_(config), window_(window), parallel_(std::move(parallel)) {
  const int64_t pairs = config.head_dim / 2;
  cos_.resize(static_cast<size_t>(window * pairs));
  sin_.resize(cos_.size());
  const std::vector<float> frequencies = InverseFrequencies(config.rope, config.head_dim);
  std::vector<int32_t> positions(static_cast<size_t>(window));
  for (size_t i = 0; i < positions.size(); ++i) positions[i] = static_cast<int32_t>(i);
  kernels::RopeAngles({.inv_freq = frequencies.data(),
                       .pairs = static_cast<int>(pairs),
                       .positions = positions.data(),
                       .rows = static_cast<int>(window),
                       .cos = cos_.data(),
                       .sin = sin_.data()},
                      0, 1);
  const int64_t rows = kChunkSequences * window;
  normed_ = Matrix(rows, config.hidden_size);
  q_ = Matrix(rows, QueryWidth(config));
  k_ = Matrix(rows, KeyWidth(config));
  v_ = Matrix(rows, KeyWidth(config));
  attended_ = Matrix(rows, QueryWidth(config));
  gate_ = Matrix(rows, config.intermediate_size);
  up_ = Matrix(rows, config.intermediate_size);
}

void LayerPass::ForSequences(int64_t sequences, const std::function<void(int64_t)>& fn) const {
  parallel_([&](int part, int parts) {
    const kernels::Range share = kernels::Partition(sequences, part, parts);
    for (int64_t i = share.begin; i < share.end; ++i) fn(i);
  });
}

void LayerPass::Norm(const std::vector<float>& weight, const float* x, int64_t rows, int64_t dim,
                     float* out) const {
  kernels::RmsNormCpu({.x = x,
                       .x_stride = dim,
                       .weight = weight.data(),
                       .eps = config_.norm_epsilon,
                       .out = out,
                       .out_stride = dim,
                       .rows = static_cast<int>(rows),
                       .dim = static_cast<int>(dim)},
                      0, 1);
}

void LayerPass::Apply(const FloatLinear& linear, const float* x, float* out) const {
  const Matrix& w = linear.weight;
  std::vector<float> rounded;
  if (linear.activations) {
    rounded.assign(x, x + window_ * w.cols);
    RoundTokens(rounded, w.cols, *linear.activations);
    x = rounded.data();
  }
  MultiplyTransposed(window_, w.rows, w.cols, 1.0f, {x, w.cols}, {w.values.data(), w.cols}, 0.0f,
                     {out, w.rows});
  if (linear.bias.empty()) return;
  for (int64_t i = 0; i < window_; ++i) {
    for (int64_t j = 0; j < w.rows; ++j) out[i * w.rows + j] += linear.bias[j];
  }
}

void LayerPass::Rotate(float* x, int64_t heads) const {
  kernels::RopeCpu({.x = x,
                    .x_stride = heads * config_.head_dim,
                    .rows = static_cast<int>(window_),
                    .heads = static_cast<int>(heads),
                    .head_dim = config_.head_dim,
                    .pairs = config_.head_dim / 2,
                    .cos = cos_.data(),
                    .sin = sin_.data()},
                   0, 1);
}

void LayerPass::Project(const FloatLayer& layer, int64_t sequence) {
  const int64_t first = sequence * window_;
  const float* x = normed_.Row(first).data();
  float* q = q_.Row(first).data();
  float* k = k_.Row(first).data();
  Apply(layer[Linear::kQ], x, q);
  Apply(layer[Linear::kK], x, k);
  Apply(layer[Linear::kV], x, v_.Row(first).data());
  if (!layer.q_norm.empty()) {
    Norm(layer.q_norm, q, window_ * config_.heads, config_.head_dim, q);
    Norm(layer.k_norm, k, window_ * config_.kv_heads, config_.head_dim, k);
  }
  Rotate(q, config_.heads);
  Rotate(k, config_.kv_heads);
}

void LayerPass::AttendHead(ConstView q, ConstView k, ConstView v, MutableView out,
                           std::vector<float>& scores) const {
  const int64_t dim = config_.head_dim;
  scores.resize(static_cast<size_t>(window_ * window_));
  MultiplyTransposed(window_, window_, dim, 1.0f / std::sqrt(static_cast<float>(dim)), q, k, 0.0f,
                     {scores.data(), window_});
  for (int64_t i = 0; i < window_; ++i) {
    float* row = scores.data() + i * window_;
    const int64_t begin =
        config_.sliding_window > 0 ? std::max<int64_t>(0, i + 1 - config_.sliding_window) : 0;
    const float top = *std::max_element(row + begin, row + i + 1);
    float sum = 0;
    for (int64_t j = begin; j <= i; ++j) {
      row[j] = std::exp(row[j] - top);
      sum += row[j];
    }
    for (int64_t j = begin; j <= i; ++j) row[j] /= sum;
    std::fill(row, row + begin, 0.0f);
    std::fill(row + i + 1, row + window_, 0.0f);
  }
  Multiply(window_, dim, window_, 1.0f, {scores.data(), window_}, v, 0.0f, out);
}

void LayerPass::Attend(int64_t sequence) {
  const int64_t first = sequence * window_;
  std::vector<float> scores;
  for (int64_t head = 0; head < config_.heads; ++head) {
    const int64_t at = head * config_.head_dim;
    const int64_t kv_at = head / (config_.heads / config_.kv_heads) * config_.head_dim;
    AttendHead({q_.Row(first).data() + at, q_.cols}, {k_.Row(first).data() + kv_at, k_.cols},
               {v_.Row(first).data() + kv_at, v_.cols},
               {attended_.Row(first).data() + at, attended_.cols}, scores);
  }
}

void LayerPass::Attention(const FloatLayer& layer, const AttentionVisitors& visit, bool advance,
                          Matrix& hidden) {
  const int64_t sequences = hidden.rows / window_;
  const bool project = visit.cache || visit.o || advance;
  const bool attend = visit.o || advance;
  for (int64_t first = 0; first < sequences; first += kChunkSequences) {
    const int64_t count = std::min(kChunkSequences, sequences - first);
    ForSequences(count, [&](int64_t i) {
      Norm(layer.input_norm, hidden.Row((first + i) * window_).data(), window_, hidden.cols,
           normed_.Row(i * window_).data());
      if (project) Project(layer, i);
      if (attend) Attend(i);
      if (!advance) return;
      std::vector<float> out(static_cast<size_t>(window_ * hidden.cols));
      Apply(layer[Linear::kO], attended_.Row(i * window_).data(), out.data());
      float* residual = hidden.Row((first + i) * window_).data();
      for (size_t j = 0; j < out.size(); ++j) residual[j] += out[j];
    });
    const int64_t rows = count * window_;
    if (visit.qkv) visit.qkv({first, rows, {normed_.values.data(), normed_.cols}});
    if (visit.cache) visit.cache({first, q_, k_, v_});
    if (visit.o) visit.o({first, rows, {attended_.values.data(), attended_.cols}});
  }
}

void LayerPass::Mlp(const FloatLayer& layer, const MlpVisitors& visit, bool advance,
                    Matrix& hidden) {
  const int64_t sequences = hidden.rows / window_;
  const bool activate = visit.down || advance;
  for (int64_t first = 0; first < sequences; first += kChunkSequences) {
    const int64_t count = std::min(kChunkSequences, sequences - first);
    ForSequences(count, [&](int64_t i) {
      const float* x = normed_.Row(i * window_).data();
      Norm(layer.post_attention_norm, hidden.Row((first + i) * window_).data(), window_,
           hidden.cols, normed_.Row(i * window_).data());
      if (!activate) return;
      float* gate = gate_.Row(i * window_).data();
      float* up = up_.Row(i * window_).data();
      Apply(layer[Linear::kGate], x, gate);
      Apply(layer[Linear::kUp], x, up);
      kernels::SwiGluCpu({.gate = gate,
                          .up = up,
                          .gate_stride = gate_.cols,
                          .up_stride = up_.cols,
                          .out = gate,
                          .out_stride = gate_.cols,
                          .rows = static_cast<int>(window_),
                          .dim = static_cast<int>(gate_.cols)},
                         0, 1);
      if (!advance) return;
      std::vector<float> out(static_cast<size_t>(window_ * hidden.cols));
      Apply(layer[Linear::kDown], gate, out.data());
      float* residual = hidden.Row((first + i) * window_).data();
      for (size_t j = 0; j < out.size(); ++j) residual[j] += out[j];
    });
    const int64_t rows = count * window_;
    if (visit.gate_up) visit.gate_up({first, rows, {normed_.values.data(), normed_.cols}});
    if (visit.down) visit.down({first, rows, {gate_.values.data(), gate_.cols}});
  }
}

}  // namespace baton
