#pragma once

#include <cstdint>
#include <functional>
#include <vector>

#include "common/calibrate/float_layer.h"
#include "common/model/model_config.h"
#include "common/quant/algorithms/linear_algebra.h"
#include "common/quant/algorithms/matrix.h"

namespace baton {

// The inputs of a linear layer for the sequences from `first_sequence` on: `rows` tokens.
struct SeenInputs {
  int64_t first_sequence;
  int64_t rows;
  ConstView x;
};
using InputVisitor = std::function<void(const SeenInputs&)>;

// Queries, keys (both rotated) and values as attention takes them, [rows, heads · head_dim] each.
struct SeenAttention {
  int64_t first_sequence;
  const Matrix& q;
  const Matrix& k;
  const Matrix& v;
};
using AttentionVisitor = std::function<void(const SeenAttention&)>;

// Runs decoder layers in fp32 over sequences of equal length, every position at once and K and V
// unrounded, and shows what goes into each linear layer. Memory: the residual stream of all
// sequences (the caller's) and the activations of kChunkSequences. Results do not depend on the
// number of parts. One thread at a time.
class LayerPass {
 public:
  static constexpr int64_t kChunkSequences = 8;

  // `window`: tokens per sequence, all starting at position 0.
  LayerPass(const ModelConfig& config, int64_t window, Parallel parallel);

  struct AttentionVisitors {
    InputVisitor qkv;        // after the norm
    AttentionVisitor cache;  // before attention
    InputVisitor o;
  };
  // First half of a layer. Computes only as far as a visitor or `advance` needs; `advance` adds
  // the half's output to `hidden` [sequences · window, hidden size].
  void Attention(const FloatLayer& layer, const AttentionVisitors& visit, bool advance,
                 Matrix& hidden);

  struct MlpVisitors {
    InputVisitor gate_up;  // after the norm
    InputVisitor down;
  };
  void Mlp(const FloatLayer& layer, const MlpVisitors& visit, bool advance, Matrix& hidden);

  // One head's attention: out[window, head_dim] with rows of `ld` values, from q, k, v likewise.
  // `scores`: scratch of window². Public for the search of cache factors.
  void AttendHead(ConstView q, ConstView k, ConstView v, MutableView out,
                  std::vector<float>& scores) const;

  int64_t window() const { return window_; }
  const ModelConfig& config() const { return config_; }

 private:
  void ForSequences(int64_t sequences, const std::function<void(int64_t sequence)>& fn) const;
  void Norm(const std::vector<float>& weight, const float* x, int64_t rows, int64_t dim,
            float* out) const;
  // out rows of one sequence = inputs · Wᵀ + b, inputs rounded where the layer says so.
  void Apply(const FloatLinear& linear, const float* x, float* out) const;
  void Project(const FloatLayer& layer, int64_t sequence);
  void Rotate(float* x, int64_t heads) const;
  void Attend(int64_t sequence);

  const ModelConfig& config_;
  const int64_t window_;
  const Parallel parallel_;
  std::vector<float> cos_;  // [window, head_dim / 2]
  std::vector<float> sin_;
  // Of one chunk, [kChunkSequences · window, …].
  Matrix normed_, q_, k_, v_, attended_, gate_, up_;
};

}  // namespace baton
