#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/quant/algorithms/matrix.h"

namespace baton {

// NF4 (Dettmers et al., 2023, "QLoRA"): quantiles of the normal distribution as 16 values, scaled
// by the largest magnitude of each block of the matrix read row by row.
inline constexpr std::array<float, 16> kNormalFloat4 = {-1.0f,
                                                        -0.6961928009986877f,
                                                        -0.5250730514526367f,
                                                        -0.39491748809814453f,
                                                        -0.28444138169288635f,
                                                        -0.18477343022823334f,
                                                        -0.09105003625154495f,
                                                        0.0f,
                                                        0.07958029955625534f,
                                                        0.16093020141124725f,
                                                        0.24611230194568634f,
                                                        0.33791524171829224f,
                                                        0.44070982933044434f,
                                                        0.5626170039176941f,
                                                        0.7229568362236023f,
                                                        1.0f};

// value[i] = amax[i / block] · kNormalFloat4[codes[i]], i over the flattened matrix.
struct NormalFloatMatrix {
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t block = 64;
  std::vector<uint8_t> codes;  // [rows · cols], 0 … 15
  std::vector<float> amax;     // [ceil(rows · cols / block)]

  Matrix Values() const;
};

// Nearest codebook value; a tie goes to the lower one. A library without a file form of its own:
// the compressed-tensors layout has no codebooks.
absl::StatusOr<NormalFloatMatrix> QuantizeNormalFloat(const Matrix& weights, int64_t block = 64);

}  // namespace baton
