#include "common/runner/cpu/forward_pass.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <utility>

#include "kernels/activation/activation.h"
#include "kernels/attention/attention.h"
#include "kernels/gemm/gemm.h"
#include "kernels/norm/norm.h"
#include "kernels/numeric/partition.h"
#include "kernels/rope/rope.h"

namespace baton {
namespace {

using kernels::AlignedBuffer;
using kernels::PagedKv;
using kernels::PagedSequence;

// Below this many values an element-wise kernel takes less than waking the other threads.
constexpr int64_t kSerialValues = 8192;

template <typename T>
void Grow(AlignedBuffer<T>& buffer, int64_t size) {
  if (static_cast<int64_t>(buffer.size()) < size) {
    buffer = AlignedBuffer<T>(static_cast<size_t>(size));
  }
}

}  // namespace

int64_t ForwardPass::QueryWidth() const {
  return int64_t{model_.config.heads} * model_.config.head_dim;
}
int64_t ForwardPass::WidestInput() const {
  const ModelConfig& c = model_.config;
  return std::max({int64_t{c.hidden_size}, QueryWidth(), int64_t{c.intermediate_size}});
}
int64_t ForwardPass::KeyWidth() const {
  return int64_t{model_.config.kv_heads} * model_.config.head_dim;
}

template <typename Function>
void ForwardPass::Launch(int64_t work, Function&& fn) {
  if (work < kSerialValues) {
    fn(0, 1);
  } else {
    pool_.Run(fn);
  }
}

template <typename Function>
void ForwardPass::ForRows(int64_t values_per_row, Function&& fn) {
  Launch(rows_ * values_per_row, [&](int part, int parts) {
    const kernels::Range share = kernels::Partition(rows_, part, parts);
    if (!share.empty()) fn(share.begin, share.end);
  });
}

std::span<const float> ForwardPass::Run(const Batch& batch, const PagedKv& kv, LogitRows wanted) {
  Arrange(batch, wanted);
  Reserve();
  Embed();
  const int last = model_.config.layers - 1;
  for (int i = 0; i <= last; ++i) {
    const DecoderLayer& layer = model_.layers[i];
    Normalize(layer.input_norm, i > 0, layer.qkv);
    Multiply(layer.qkv, {normed_.data(), model_.config.hidden_size}, qkv_.data());
    NormalizeHeads(layer);
    RotateAndWrite(kv, i);
    // Nothing after the last layer's K and V is needed but for the rows that give logits.
    if (i == last && logit_rows_.empty()) return {};
    Attend(kv, i, i == last ? logit_sequences_ : sequences_);
    if (i == last) KeepLogitRows();
    const Input attended{attended_.data(), QueryWidth()};
    ForRows(QueryWidth(),
            [&](int64_t begin, int64_t end) { QuantizeRows(layer.o, attended, begin, end); });
    Multiply(layer.o, attended, projected_.data());
    Normalize(layer.post_attention_norm, true, layer.gate_up);
    Multiply(layer.gate_up, {normed_.data(), model_.config.hidden_size}, gate_up_.data());
    Activate(layer.down);
    Multiply(layer.down, {gate_up_.data(), 2 * int64_t{model_.config.intermediate_size}},
             projected_.data());
  }
  const LinearLayer& head = model_.output_head();
  Normalize(model_.final_norm, true, head);
  Multiply(head, {normed_.data(), model_.config.hidden_size}, logits_.data());
  return {logits_.data(), static_cast<size_t>(rows_ * model_.config.vocab_size)};
}

void ForwardPass::Arrange(const Batch& batch, LogitRows wanted) {
  positions_.clear();
  tokens_.clear();
  sequences_.clear();
  logit_sequences_.clear();
  logit_rows_.clear();
  attended_tokens_ = 0;
  for (const BatchEntry& entry : batch.entries) {
    const auto first_row = static_cast<int32_t>(tokens_.size());
    const auto count = static_cast<int32_t>(entry.tokens.size());
    tokens_.insert(tokens_.end(), entry.tokens.begin(), entry.tokens.end());
    for (int32_t i = 0; i < count; ++i) positions_.push_back(entry.first_position + i);
    sequences_.push_back({.pages = entry.pages.data(),
                          .first_position = entry.first_position,
                          .rows = count,
                          .first_row = first_row});
    attended_tokens_ += int64_t{count} * (entry.first_position + count);
    const int32_t keep = wanted == LogitRows::kEvery ? count : entry.sample ? 1 : 0;
    if (keep == 0) continue;
    logit_sequences_.push_back({.pages = entry.pages.data(),
                                .first_position = entry.first_position + count - keep,
                                .rows = keep,
                                .first_row = first_row + count - keep});
    for (int32_t i = count - keep; i < count; ++i) logit_rows_.push_back(first_row + i);
  }
  rows_ = static_cast<int64_t>(tokens_.size());
}

void ForwardPass::Reserve() {
  const ModelConfig& c = model_.config;
  Grow(logits_, static_cast<int64_t>(logit_rows_.size()) * c.vocab_size);
  if (rows_ <= reserved_rows_) return;
  const int64_t widest = kernels::PaddedActivations(WidestInput());
  if (model_.any_gather()) Grow(gathered_, rows_ * WidestInput());
  Grow(hidden_, rows_ * c.hidden_size);
  Grow(normed_, rows_ * c.hidden_size);
  Grow(projected_, rows_ * c.hidden_size);
  Grow(qkv_, rows_ * QkvWidth());
  Grow(attended_, rows_ * QueryWidth());
  Grow(gate_up_, rows_ * 2 * c.intermediate_size);
  Grow(cos_, rows_ * c.head_dim / 2);
  Grow(sin_, rows_ * c.head_dim / 2);
  Grow(codes_, rows_ * widest);
  Grow(code_scales_, rows_);
  Grow(code_sums_, rows_ * widest / kernels::kActivationBlock);
  reserved_rows_ = rows_;
}

void ForwardPass::Embed() {
  const int64_t hidden = model_.config.hidden_size;
  ForRows(hidden, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      kernels::DequantizeRow(model_.embedding.weight, tokens_[row], hidden_.data() + row * hidden);
    }
  });
  const kernels::RopeAnglesParams angles{
      .inv_freq = model_.inverse_frequencies.data(),
      .pairs = static_cast<int>(model_.inverse_frequencies.size()),
      .positions = positions_.data(),
      .rows = static_cast<int>(rows_),
      .cos = cos_.data(),
      .sin = sin_.data()};
  Launch(rows_ * model_.config.head_dim,
         [&](int part, int parts) { kernels::RopeAngles(angles, part, parts); });
}

void ForwardPass::Normalize(const std::vector<float>& weight, bool add, const LinearLayer& next) {
  const int64_t hidden = model_.config.hidden_size;
  ForRows(hidden, [&](int64_t begin, int64_t end) {
    float* residual = hidden_.data() + begin * hidden;
    const kernels::RmsNormParams norm{.x = add ? projected_.data() + begin * hidden : residual,
                                      .x_stride = hidden,
                                      .residual = add ? residual : nullptr,
                                      .residual_stride = hidden,
                                      .weight = weight.data(),
                                      .eps = model_.config.norm_epsilon,
                                      .out = normed_.data() + begin * hidden,
                                      .out_stride = hidden,
                                      .rows = static_cast<int>(end - begin),
                                      .dim = static_cast<int>(hidden)};
    kernels::RmsNormCpu(norm, 0, 1);
    QuantizeRows(next, {normed_.data(), hidden}, begin, end);
  });
}

void ForwardPass::NormalizeHeads(const DecoderLayer& layer) {
  if (layer.q_norm.empty()) return;
  const ModelConfig& c = model_.config;
  ForRows(QueryWidth() + KeyWidth(), [&](int64_t begin, int64_t end) {
    kernels::RmsNormParams norm{.x_stride = QkvWidth(),
                                .eps = c.norm_epsilon,
                                .out_stride = QkvWidth(),
                                .rows = static_cast<int>(end - begin),
                                .dim = c.head_dim};
    norm.out = qkv_.data() + begin * QkvWidth();
    norm.x = norm.out;
    norm.groups = c.heads;
    norm.weight = layer.q_norm.data();
    kernels::RmsNormCpu(norm, 0, 1);
    norm.out += QueryWidth();
    norm.x = norm.out;
    norm.groups = c.kv_heads;
    norm.weight = layer.k_norm.data();
    kernels::RmsNormCpu(norm, 0, 1);
  });
}

void ForwardPass::RotateAndWrite(const PagedKv& kv, int layer) {
  const ModelConfig& c = model_.config;
  const int pairs = c.head_dim / 2;
  const kernels::RopeParams rotate{.x = qkv_.data(),
                                   .x_stride = QkvWidth(),
                                   .rows = static_cast<int>(rows_),
                                   .heads = c.heads,
                                   .head_dim = c.head_dim,
                                   .pairs = pairs,
                                   .cos = cos_.data(),
                                   .sin = sin_.data()};
  const kernels::KvWriteParams write{.k = qkv_.data() + QueryWidth(),
                                     .v = qkv_.data() + QueryWidth() + KeyWidth(),
                                     .k_stride = QkvWidth(),
                                     .v_stride = QkvWidth(),
                                     .pairs = pairs,
                                     .cos = cos_.data(),
                                     .sin = sin_.data(),
                                     .kv = kv,
                                     .layer = layer,
                                     .sequences = sequences_};
  Launch(rows_ * QkvWidth(), [&](int part, int parts) {
    kernels::RopeCpu(rotate, part, parts);
    kernels::KvWriteCpu(write, part, parts);
  });
}

void ForwardPass::Attend(const PagedKv& kv, int layer, std::span<const PagedSequence> sequences) {
  const ModelConfig& c = model_.config;
  const kernels::AttentionParams params{.q = qkv_.data(),
                                        .q_stride = QkvWidth(),
                                        .out = attended_.data(),
                                        .out_stride = QueryWidth(),
                                        .q_heads = c.heads,
                                        .scale = 1.0f / std::sqrt(static_cast<float>(c.head_dim)),
                                        .window = c.sliding_window,
                                        .kv = kv,
                                        .layer = layer,
                                        .sequences = sequences};
  Launch(attended_tokens_ * QueryWidth(),
         [&](int part, int parts) { kernels::AttentionCpu(params, part, parts); });
}

void ForwardPass::KeepLogitRows() {
  const auto move_rows = [this](float* values, int64_t width) {
    for (size_t i = 0; i < logit_rows_.size(); ++i) {
      const auto to = static_cast<int64_t>(i);
      if (logit_rows_[i] == to) continue;
      std::memcpy(values + to * width, values + logit_rows_[i] * width,
                  static_cast<size_t>(width) * sizeof(float));
    }
  };
  move_rows(attended_.data(), QueryWidth());
  move_rows(hidden_.data(), model_.config.hidden_size);
  rows_ = static_cast<int64_t>(logit_rows_.size());
}

void ForwardPass::Activate(const LinearLayer& next) {
  const int64_t width = model_.config.intermediate_size;
  ForRows(width, [&](int64_t begin, int64_t end) {
    float* gate = gate_up_.data() + begin * 2 * width;
    const kernels::SwiGluParams params{.gate = gate,
                                       .up = gate + width,
                                       .gate_stride = 2 * width,
                                       .up_stride = 2 * width,
                                       .out = gate,
                                       .out_stride = 2 * width,
                                       .rows = static_cast<int>(end - begin),
                                       .dim = static_cast<int>(width)};
    kernels::SwiGluCpu(params, 0, 1);
    QuantizeRows(next, {gate_up_.data(), 2 * width}, begin, end);
  });
}

kernels::QuantizedRows ForwardPass::Quantized(const LinearLayer& next) {
  return {.codes = codes_.data(),
          .scale = code_scales_.data(),
          .sums = code_sums_.data(),
          .stride = kernels::PaddedActivations(next.weight.k())};
}

void ForwardPass::QuantizeRows(const LinearLayer& next, Input input, int64_t begin, int64_t end) {
  if (!next.gather.empty()) input = Gather(next, input, begin, end);
  if (!kernels::TakesQuantizedActivations(next.weight.scheme())) return;
  kernels::QuantizedRows out = Quantized(next);
  out.codes += begin * out.stride;
  out.scale += begin;
  out.sums += begin * (out.stride / kernels::kActivationBlock);
  const kernels::QuantizeParams params{.x = input.values + begin * input.stride,
                                       .m = end - begin,
                                       .k = next.weight.k(),
                                       .ldx = input.stride,
                                       .code = kernels::ActivationCodeOf(next.weight.scheme()),
                                       .out = out};
  kernels::QuantizeRowsCpu(params, 0, 1);
}

ForwardPass::Input ForwardPass::Gather(const LinearLayer& next, Input input, int64_t begin,
                                       int64_t end) {
  const Input gathered{gathered_.data(), next.weight.k()};
  for (int64_t row = begin; row < end; ++row) {
    const float* from = input.values + row * input.stride;
    float* to = gathered_.data() + row * gathered.stride;
    for (int64_t i = 0; i < gathered.stride; ++i) to[i] = from[next.gather[static_cast<size_t>(i)]];
  }
  return gathered;
}

void ForwardPass::Multiply(const LinearLayer& linear, Input input, float* out) {
  if (!linear.gather.empty()) input = {gathered_.data(), linear.weight.k()};
  kernels::GemmParams params{.m = rows_,
                             .w = &linear.weight,
                             .bias = linear.bias.empty() ? nullptr : linear.bias.data(),
                             .out = out,
                             .ldo = linear.weight.n()};
  if (kernels::TakesQuantizedActivations(linear.weight.scheme())) {
    params.quantized = Quantized(linear);
  } else {
    params.a = input.values;
    params.lda = input.stride;
  }
  pool_.Run([&](int part, int parts) { kernels::GemmCpu(params, part, parts); });
}

}  // namespace baton
