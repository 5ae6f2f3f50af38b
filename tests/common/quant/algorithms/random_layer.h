#pragma once

#include <cstdint>
#include <random>

#include "common/quant/algorithms/linear_algebra.h"
#include "common/quant/algorithms/matrix.h"

namespace baton {

inline Matrix RandomMatrix(int64_t rows, int64_t cols, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Matrix m(rows, cols);
  for (float& x : m.values) x = normal(random);
  return m;
}

// Inputs whose channels are correlated and of very different ranges, as those of a trained model.
inline Matrix RandomInputs(int64_t tokens, int64_t cols, uint32_t seed) {
  const Matrix base = RandomMatrix(tokens, cols, seed);
  const Matrix mix = RandomMatrix(cols, cols, seed + 1);
  Matrix x = base;
  for (int64_t i = 0; i < tokens; ++i) {
    for (int64_t j = 0; j < cols; ++j) {
      float shared = 0;
      for (int64_t c = 0; c < 4; ++c) shared += base.At(i, c) * mix.At(c, j);
      x.At(i, j) = (base.At(i, j) + shared) * (j % 7 == 3 ? 8.0f : 1.0f);
    }
  }
  return x;
}

inline Matrix GramOf(const Matrix& x) {
  Matrix gram(x.cols, x.cols);
  AddGram({x.values.data(), x.cols}, x.rows, gram, Serial());
  return gram;
}

inline double ErrorOf(const Matrix& weights, const Matrix& values, const Matrix& gram) {
  Matrix d = weights;
  for (size_t i = 0; i < d.values.size(); ++i) d.values[i] -= values.values[i];
  return QuadraticError(d, gram, Serial());
}

}  // namespace baton
