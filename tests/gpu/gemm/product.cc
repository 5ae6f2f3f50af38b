#include "tests/gpu/gemm/product.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace baton::kernels::cuda {

std::vector<float> ProductRows(std::span<const float> a, std::span<const float> w,
                               std::span<const float> bias, std::span<const int> rows, int n,
                               int k) {
  std::vector<float> out;
  out.reserve(rows.size() * n);
  for (const int row : rows) {
    const float* x = a.data() + static_cast<size_t>(row) * k;
    for (int column = 0; column < n; ++column) {
      const float* y = w.data() + static_cast<size_t>(column) * k;
      // Four sums: the compiler may not reorder one.
      double sum[4] = {};
      for (int i = 0; i < k; i += 4) {
        for (int j = 0; j < 4; ++j) sum[j] += static_cast<double>(x[i + j]) * y[i + j];
      }
      const double total = sum[0] + sum[1] + sum[2] + sum[3];
      out.push_back(static_cast<float>(bias.empty() ? total : total + bias[column]));
    }
  }
  return out;
}

std::vector<int> SampleRows(int m, int count) {
  std::vector<int> rows;
  if (m <= count) {
    for (int row = 0; row < m; ++row) rows.push_back(row);
    return rows;
  }
  for (int i = 0; i < count; ++i) {
    rows.push_back(static_cast<int>(static_cast<int64_t>(i) * (m - 1) / (count - 1)));
  }
  return rows;
}

double Cancellation(int k) {
  // E|x·y| = 2/π for unit normals, k terms, against a sum of deviation sqrt(k).
  return std::max(1.0, 2.0 / std::numbers::pi * std::sqrt(static_cast<double>(k)));
}

}  // namespace baton::kernels::cuda
