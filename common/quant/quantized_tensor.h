#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include "common/quant/round_to_nearest.h"
#include "common/quant/run_parts.h"
#include "kernels/gemm/packed_weight.h"
#include "kernels/numeric/unset_vector.h"

namespace baton {

// What a byte of QuantizedTensor::codes means.
enum class TensorCode {
  kSigned,    // -2^(bits - 1) … 2^(bits - 1) - 1, two's complement
  kUnsigned,  // 0 … 2^bits - 1
  kE4m3,      // fp8 e4m3fn
};

// The internal form of numbers.md ("Weights") that every checkpoint format is read to, exactly:
//   W[n,k] = scales[n / block_rows, g] · (codes[n,k] - zero[n / block_rows, g]),
//   g = column_group[k], or k / block_columns where column_group is empty
// computed in fp32: the difference first (exact for integer zeros), then one rounding.
struct QuantizedTensor {
  int64_t n = 0;  // output features
  int64_t k = 0;  // input features
  TensorCode code = TensorCode::kSigned;
  int bits = 8;                         // of one code, 2 … 8
  kernels::UnsetVector<uint8_t> codes;  // [n, k], one per byte
  int64_t block_rows = 1;     // rows that share a scale: 1, n for one scale per tensor, or a block
  int64_t block_columns = 0;  // columns that share a scale: the group size; k for one per row
  kernels::ScalarType scale_type = kernels::ScalarType::kFp16;
  std::vector<std::byte> scales;      // [row_blocks, groups] of scale_type
  std::vector<int32_t> zeros;         // [row_blocks, groups], or empty for zero points of 0
  std::vector<float> float_zeros;     // [row_blocks, groups], instead of zeros; or empty
  std::vector<int32_t> column_group;  // [k] group of each column (act-order), or empty

  int64_t row_blocks() const { return (n + block_rows - 1) / block_rows; }
  int64_t groups() const { return (k + block_columns - 1) / block_columns; }
  float Scale(int64_t row_block, int64_t group) const;
  // The zero points as stored: 0 where there are none.
  float Zero(int64_t row_block, int64_t group) const;
};

// INTERNAL when the sizes of the vectors, the ranges of codes or the group numbers do not fit one
// another; `name` in front. `run` splits the look at every code.
absl::Status CheckQuantizedTensor(const QuantizedTensor& tensor, std::string_view name,
                                  const RunParts& run = RunSerially);

// Whether every code of the tensor is one of its bits (any, for 8 bits and e4m3).
bool CodesInRange(const QuantizedTensor& tensor, const RunParts& run);
// Whether every code of the tensor is a number: false for a NaN of e4m3.
bool CodesAreNumbers(const QuantizedTensor& tensor, const RunParts& run);

// One row in fp32, out[k].
void DequantizeRow(const QuantizedTensor& tensor, int64_t row, float* out);

// The same values.
QuantizedTensor ToTensor(QuantizedMatrix matrix);

}  // namespace baton
