#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/quant/algorithms/code_spec.h"
#include "common/quant/algorithms/matrix.h"

namespace baton {

// QoQ's progressive groups (Lin et al., 2024, "QServe", section 4.1): INT8 per channel within the
// protective range −119 … 119, then UINT4 per group of those codes, with INT8 scales and zero
// points. A W4A8 product needs only integers until the channel scale:
//   code8 = group_scale · (code4 − group_zero), |code8| ≤ 127;  value = channel_scale · code8.
struct ProgressiveMatrix {
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t group = 0;
  std::vector<uint8_t> codes;         // [rows, cols], 0 … 15
  std::vector<uint8_t> group_scales;  // [rows, cols / group], 1 … 17
  std::vector<uint8_t> group_zeros;   // [rows, cols / group], 0 … 15
  std::vector<float> channel_scales;  // [rows]

  int Code8(int64_t row, int64_t col) const;
  Matrix Values() const;
};

// INVALID_ARGUMENT when the group does not divide the columns. The second level has no place in the
// compressed-tensors layout: Flat gives the same values in one level.
absl::StatusOr<ProgressiveMatrix> QuantizeProgressive(const Matrix& weights, int64_t group,
                                                      const Parallel& parallel);

// The same values exactly, with one fp32 scale per group: channel scale · group scale.
CodedMatrix Flat(const ProgressiveMatrix& matrix);

}  // namespace baton
