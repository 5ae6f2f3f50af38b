#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "common/quant/algorithms/code_spec.h"
#include "common/quant/algorithms/matrix.h"

namespace baton {

// LLM.int8() (Dettmers et al., 2022): columns of the inputs that hold an outlier are multiplied in
// floating point, the others in INT8, row-wise inputs × row-wise weights. A decomposition for
// accuracy, not for speed; offered as a reference without a kernel.
struct OutlierProduct {
  Matrix out;                     // [tokens, rows of the weight]
  std::vector<int64_t> outliers;  // columns that were multiplied in floating point, ascending
};

// `weights`: INT8 per row (spec.bits 8, symmetric, group 0). A column with any |x| ≥ threshold is
// an outlier; its weights are used dequantized. threshold 0 makes every column one.
// INVALID_ARGUMENT for shapes or codes that do not fit.
absl::StatusOr<OutlierProduct> MultiplyWithOutliers(const Matrix& x, const CodedMatrix& weights,
                                                    float threshold = 6.0f);

}  // namespace baton
