#pragma once

#include <cstdint>
#include <vector>

#include "common/model/safetensors.h"
#include "kernels/gemm/packed_weight.h"

namespace baton {

// A matrix in the internal form of numbers.md ("Weights"): codes row-major, fp16 scales and integer
// zero points per (row, group along K).
struct QuantizedMatrix {
  int64_t n = 0;
  int64_t k = 0;
  int64_t group = 0;  // divides k
  kernels::CodeType codes_type = kernels::CodeType::kInt8;
  std::vector<int8_t> codes;     // [n, k]
  std::vector<uint16_t> scales;  // [n, k / group], fp16
  std::vector<int32_t> zeros;    // [n, k / group]; empty unless codes_type is kUint4

  int64_t groups() const { return k / group; }
  // Borrows this object.
  kernels::WeightView View() const;
};

// Storage for the quantized form of an [n, k] matrix; `group` must divide k.
QuantizedMatrix MakeQuantizedMatrix(int64_t n, int64_t k, int64_t group,
                                    kernels::CodeType codes_type);

// Quantizes the rows of `source` (F32, F16 or BF16, of the matrix's shape) to nearest by the rules
// of numbers.md: kInt8 s = amax / 127; kE4m3 s = amax / 448; kInt4 symmetric s = amax / 7.5; kUint4
// asymmetric with min and max taken to include 0. The scale is rounded to fp16 first. Values must
// be finite: a group with Inf or NaN gets a NaN scale. Rows are split over the parts.
void RoundToNearest(const TensorView& source, QuantizedMatrix& matrix, int part, int parts);

// `count` values from `first` on, in fp32. F32, F16 and BF16 only.
void ToFloat(const TensorView& source, int64_t first, int64_t count, float* out);

}  // namespace baton
