#include "common/quant/algorithms/outliers.h"

#include <algorithm>
#include <cmath>

#include "common/base/status.h"
#include "common/quant/algorithms/nearest.h"

namespace baton {

absl::StatusOr<OutlierProduct> MultiplyWithOutliers(const Matrix& x, const CodedMatrix& weights,
                                                    float threshold) {
  if (weights.spec.kind != CodeKind::kInt || weights.spec.bits != 8 || !weights.spec.symmetric ||
      weights.groups() != 1 || weights.block_rows != 1) {
    return InvalidArgument("weights: other codes, expected INT8 with one scale per row");
  }
  if (x.cols != weights.cols) {
    return InvalidArgument("inputs: {} columns, expected {}", x.cols, weights.cols);
  }
  OutlierProduct product{Matrix(x.rows, weights.rows), {}};
  std::vector<bool> outlier(static_cast<size_t>(x.cols));
  for (int64_t j = 0; j < x.cols; ++j) {
    for (int64_t i = 0; i < x.rows && !outlier[static_cast<size_t>(j)]; ++i) {
      outlier[static_cast<size_t>(j)] = std::abs(x.At(i, j)) >= threshold;
    }
    if (outlier[static_cast<size_t>(j)]) product.outliers.push_back(j);
  }
  // The regular part alone decides the tokens' scales.
  Matrix regular = x;
  for (const int64_t j : product.outliers) {
    for (int64_t i = 0; i < x.rows; ++i) regular.At(i, j) = 0;
  }
  RoundTokens(regular.values, regular.cols, CodeKind::kInt);
  for (const int64_t j : product.outliers) {
    for (int64_t i = 0; i < x.rows; ++i) regular.At(i, j) = x.At(i, j);
  }
  for (int64_t i = 0; i < x.rows; ++i) {
    for (int64_t n = 0; n < weights.rows; ++n) {
      double sum = 0;
      for (int64_t j = 0; j < x.cols; ++j) {
        sum += static_cast<double>(regular.At(i, j)) * weights.Code(n, j);
      }
      product.out.At(i, n) = static_cast<float>(sum * weights.scales[static_cast<size_t>(n)]);
    }
  }
  return product;
}

}  // namespace baton
