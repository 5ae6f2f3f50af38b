#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/quant/algorithms/code_spec.h"
#include "common/quant/algorithms/matrix.h"

namespace baton {

// HQQ (Badri and Shaji, 2023): no data. The scale of a group comes from its extremes; the zero
// point, a real number, is moved to minimize ‖W − Ŵ‖_p^p by half-quadratic splitting.
struct HalfQuadraticOptions {
  int bits = 4;        // 2 to 8
  int64_t group = 64;  // along K; must divide it
  float norm = 0.7f;   // p
  float beta = 10.0f;
  float kappa = 1.01f;  // β grows by it
  int iterations = 20;
};

// value = (code − zero) · scale.
struct HalfQuadraticMatrix {
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t group = 0;
  int bits = 4;
  std::vector<uint8_t> codes;  // [rows, cols]
  std::vector<float> scales;   // [rows, cols / group]
  std::vector<float> zeros;    // [rows, cols / group]

  Matrix Values() const;
};

// A group keeps its first zero point where moving it does not lower the mean |W − Ŵ|.
// INVALID_ARGUMENT for options out of range. The zero points are real numbers, which the
// compressed-tensors layout cannot hold: Integral gives what a file can.
absl::StatusOr<HalfQuadraticMatrix> QuantizeHalfQuadratic(const Matrix& weights,
                                                          const HalfQuadraticOptions& options,
                                                          const Parallel& parallel);

// The same grids with the scales rounded to `scale_type` and the zero points to integers of the
// codes' range (HQQ's round_zero), and the weights rounded with those.
CodedMatrix Integral(const HalfQuadraticMatrix& matrix, const Matrix& weights,
                     kernels::ScalarType scale_type, const Parallel& parallel);

}  // namespace baton
