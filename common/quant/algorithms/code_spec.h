#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/status.h"
#include "common/quant/algorithms/matrix.h"
#include "kernels/gemm/packed_weight.h"

namespace baton {

enum class CodeKind {
  kInt,
  kFp8,  // e4m3fn
};

// How a matrix is coded. Granularity: a scale belongs to `block_rows` rows × `group` columns, where
// 0 means all of them: {1, 0} per channel, {1, 128} groups, {0, 0} per tensor, {128, 128} blocks.
struct CodeSpec {
  CodeKind kind = CodeKind::kInt;
  int bits = 4;  // kInt: 2 to 8
  bool symmetric = true;
  int64_t group = 0;
  int64_t block_rows = 1;
  kernels::ScalarType scale_type = kernels::ScalarType::kFp16;  // what the scale is rounded to

  // Range of the codes. Symmetric: −2^(b−1) … 2^(b−1)−1, but 8 bits −127 … 127; else 0 … 2^b−1.
  int low() const;
  int high() const;
};

// INVALID_ARGUMENT naming the field, for a matrix of `cols` columns.
absl::Status Validate(const CodeSpec& spec, int64_t cols);

// One scale with its zero point: value = scale · (code − zero).
struct Grid {
  float scale = 1;
  int zero = 0;
};

// A matrix as codes. value[n,k] = scales[n / block_rows, k / group] · (codes[n,k] − zeros[…]);
// kFp8: the code is the byte, value = scale · e4m3(code).
struct CodedMatrix {
  CodeSpec spec;
  int64_t rows = 0;
  int64_t cols = 0;
  int64_t group = 0;           // spec.group, or cols
  int64_t block_rows = 1;      // spec.block_rows, or rows
  std::vector<uint8_t> codes;  // [rows, cols]; signed codes as two's complement
  std::vector<float> scales;   // [ceil(rows / block_rows), ceil(cols / group)]
  std::vector<int32_t> zeros;  // as scales; empty when symmetric

  int64_t groups() const { return (cols + group - 1) / group; }
  size_t GridIndex(int64_t row, int64_t col) const {
    return static_cast<size_t>((row / block_rows) * groups() + col / group);
  }
  Grid GridAt(int64_t row, int64_t col) const {
    const size_t i = GridIndex(row, col);
    return {scales[i], zeros.empty() ? 0 : zeros[i]};
  }
  int Code(int64_t row, int64_t col) const;
  Matrix Values() const;
  // Bits per weight, scales and zero points included.
  double BitsPerWeight() const;
};

CodedMatrix MakeCodedMatrix(int64_t rows, int64_t cols, const CodeSpec& spec);

float RoundScale(float scale, kernels::ScalarType type);

// The grid for values between `min` and `max` (numbers.md "Weights", formats.md 6.3): symmetric
// int4 amax / 7.5, int8 amax / 127, fp8 amax / 448; asymmetric with 0 inside the range.
Grid MinMaxGrid(float min, float max, const CodeSpec& spec);

// The code of a value: rint, then clamped. And back.
int Encode(float value, const Grid& grid, const CodeSpec& spec);
float Decode(int code, const Grid& grid, const CodeSpec& spec);
inline float Rounded(float value, const Grid& grid, const CodeSpec& spec) {
  return Decode(Encode(value, grid, spec), grid, spec);
}

}  // namespace baton
