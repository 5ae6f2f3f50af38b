#pragma once

#include <cstdint>

#include "common/calibrate/layer_pass.h"
#include "common/quant/algorithms/folding.h"
#include "common/quant/algorithms/matrix.h"

namespace baton {

// Gathers Xᵀ X of a linear layer's inputs: over the calibration sequences, and apart over the
// held-out ones, on which errors are reported.
class GramGatherer {
 public:
  // Sequences from `first_held_out` on (a multiple of LayerPass::kChunkSequences) are held out.
  GramGatherer(int64_t cols, int64_t first_held_out, const Parallel& parallel)
      : calibration_(cols, cols),
        held_out_(cols, cols),
        first_held_out_(first_held_out),
        parallel_(parallel) {}

  void Add(const SeenInputs& inputs) {
    Matrix& gram = inputs.first_sequence < first_held_out_ ? calibration_ : held_out_;
    AddGram(inputs.x, inputs.rows, gram, parallel_);
  }
  InputVisitor Visitor() {
    return [this](const SeenInputs& inputs) { Add(inputs); };
  }

  const Matrix& calibration() const { return calibration_; }
  const Matrix& held_out() const { return held_out_; }

 private:
  Matrix calibration_;
  Matrix held_out_;
  const int64_t first_held_out_;
  const Parallel& parallel_;
};

// Tokens on which the searches for factors and the survey judge.
inline constexpr int64_t kSampleTokens = 512;

// Per-channel statistics over all inputs and a sample of every `stride`-th token.
class SampleGatherer {
 public:
  SampleGatherer(int64_t cols, int64_t rows, int64_t sample_rows);

  void Add(const SeenInputs& inputs);
  InputVisitor Visitor() {
    return [this](const SeenInputs& inputs) { Add(inputs); };
  }

  const Matrix& sample() const { return sample_; }
  InputStatistics Statistics() const;

 private:
  const int64_t stride_;
  int64_t seen_ = 0;   // tokens
  int64_t taken_ = 0;  // rows of the sample
  Matrix sample_;
  std::vector<float> amax_;
  std::vector<double> sum_;   // of |x|
  std::vector<double> sum4_;  // of x⁴
};

}  // namespace baton
