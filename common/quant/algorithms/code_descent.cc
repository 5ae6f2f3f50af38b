#include "common/quant/algorithms/code_descent.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <vector>

#include "common/base/check.h"
#include "common/quant/algorithms/linear_algebra.h"
#include "kernels/numeric/partition.h"

namespace baton {
namespace {

float Dot(const float* a, const float* b, int64_t n) {
  constexpr int kLanes = 16;  // separate sums, so that the compiler may use vectors
  float sums[kLanes] = {};
  int64_t i = 0;
  for (; i + kLanes <= n; i += kLanes) {
    for (int l = 0; l < kLanes; ++l) sums[l] += a[i + l] * b[i + l];
  }
  float total = 0;
  for (const float sum : sums) total += sum;
  for (; i < n; ++i) total += a[i] * b[i];
  return total;
}

// Rows that are worked on together, so that the Hessian is read once for all of them.
constexpr int64_t kRows = 16;

// Least squares for the scales of a block of rows. With u_g what group g adds to a row per unit of
// its scale, the error of a row is w H w − 2 b·s + s·A s for A = u H uᵀ and b = u H w.
class ScaleFit {
 public:
  ScaleFit(const Matrix& weights, const Matrix& hessian, CodedMatrix& coded)
      : weights_(weights),
        hessian_(hessian),
        coded_(coded),
        groups_(coded.groups()),
        units_(kRows, coded.cols),
        products_(kRows * groups_, coded.cols) {}

  void Rows(kernels::Range rows) {
    const int64_t k = coded_.cols;
    for (int64_t i = 0; i < rows.size(); ++i) {
      for (int64_t j = 0; j < k; ++j) {
        const Grid unit{1.0f, coded_.GridAt(rows.begin + i, j).zero};
        units_.At(i, j) = Decode(coded_.Code(rows.begin + i, j), unit, coded_.spec);
      }
    }
    for (int64_t g = 0; g < groups_; ++g) {
      const int64_t first = g * coded_.group;
      const int64_t width = std::min(coded_.group, k - first);
      Multiply(rows.size(), k, width, 1.0f, {units_.values.data() + first, k},
               {hessian_.Row(first).data(), k}, 0.0f, {products_.Row(g).data(), groups_ * k});
    }
    for (int64_t i = 0; i < rows.size(); ++i) Row(rows.begin + i, i);
  }

 private:
  // `at`: of the row within its block.
  void Row(int64_t row, int64_t at) {
    const auto n = static_cast<size_t>(groups_);
    std::vector<double> a(n * n);
    std::vector<double> b(n);
    double trace = 0;
    for (size_t g = 0; g < n; ++g) {
      const float* product = products_.Row(at * groups_ + static_cast<int64_t>(g)).data();
      b[g] = Dot(product, weights_.Row(row).data(), coded_.cols);
      for (size_t i = 0; i < n; ++i) {
        const int64_t first = static_cast<int64_t>(i) * coded_.group;
        a[g * n + i] = Dot(product + first, units_.Row(at).data() + first,
                           std::min(coded_.group, coded_.cols - first));
      }
      trace += a[g * n + g];
    }
    std::vector<double> factor = a;
    std::vector<double> fitted = b;
    for (size_t g = 0; g < n; ++g) factor[g * n + g] += 1e-6 * trace / static_cast<double>(n);
    if (!SolveSmall(groups_, factor.data(), fitted.data())) return;
    Keep(row, a, b, fitted);
  }

  void Keep(int64_t row, const std::vector<double>& a, const std::vector<double>& b,
            const std::vector<double>& fitted) {
    float* stored = coded_.scales.data() + coded_.GridIndex(row, 0);
    std::vector<float> scales(b.size());
    for (size_t g = 0; g < scales.size(); ++g) {
      const float scale = RoundScale(static_cast<float>(fitted[g]), coded_.spec.scale_type);
      // A scale that turned its sign or vanished belongs to codes that fit nothing.
      scales[g] = scale > 0 && std::isfinite(scale) ? scale : stored[g];
    }
    const auto error = [&](const float* s) {
      double sum = 0;
      for (size_t g = 0; g < b.size(); ++g) {
        double dot = 0;
        for (size_t i = 0; i < b.size(); ++i) dot += a[g * b.size() + i] * s[i];
        sum += s[g] * (dot - 2 * b[g]);
      }
      return sum;
    };
    if (error(scales.data()) < error(stored)) std::copy(scales.begin(), scales.end(), stored);
  }

  const Matrix& weights_;
  const Matrix& hessian_;
  CodedMatrix& coded_;
  const int64_t groups_;
  Matrix units_;     // [kRows, cols]
  Matrix products_;  // [kRows · groups, cols]: row i · groups + g is u_g H of row i
};

// One pass over the codes of a row; `gradient` = H (w − ŵ), kept up to date. True if any changed.
bool Sweep(const Matrix& hessian, int64_t row, CodedMatrix& coded, std::span<float> gradient) {
  const int64_t k = coded.cols;
  bool changed = false;
  for (int64_t j = 0; j < k; ++j) {
    const float curvature = hessian.At(j, j);
    if (!(curvature > 0)) continue;
    const Grid grid = coded.GridAt(row, j);
    uint8_t& code = coded.codes[static_cast<size_t>(row * k + j)];
    const float now = Decode(coded.Code(row, j), grid, coded.spec);
    const int best = Encode(now + gradient[static_cast<size_t>(j)] / curvature, grid, coded.spec);
    if (static_cast<uint8_t>(best) == code) continue;
    const float step = Decode(best, grid, coded.spec) - now;
    // The error changes by step² · curvature − 2 · step · gradient.
    if (!(step * curvature * step < 2 * step * gradient[static_cast<size_t>(j)])) continue;
    code = static_cast<uint8_t>(best);
    const float* column = hessian.values.data() + j * k;
    for (int64_t i = 0; i < k; ++i) gradient[static_cast<size_t>(i)] -= step * column[i];
    changed = true;
  }
  return changed;
}

}  // namespace

void RefitScales(const Matrix& weights, const Matrix& hessian, const Parallel& parallel,
                 CodedMatrix& coded) {
  BATON_CHECK(coded.block_rows == 1);
  parallel([&](int part, int parts) {
    const kernels::Range rows = kernels::Partition(coded.rows, part, parts, kRows);
    ScaleFit fit(weights, hessian, coded);
    for (int64_t first = rows.begin; first < rows.end; first += kRows) {
      fit.Rows({first, std::min(first + kRows, rows.end)});
    }
  });
}

void DescendCodes(const Matrix& weights, const Matrix& hessian, int sweeps,
                  const Parallel& parallel, CodedMatrix& coded) {
  const int64_t k = coded.cols;
  parallel([&](int part, int parts) {
    const kernels::Range rows = kernels::Partition(coded.rows, part, parts, kRows);
    Matrix difference(kRows, k);
    Matrix gradient(kRows, k);
    for (int64_t first = rows.begin; first < rows.end; first += kRows) {
      const int64_t count = std::min(kRows, rows.end - first);
      for (int64_t i = 0; i < count; ++i) {
        for (int64_t j = 0; j < k; ++j) {
          difference.At(i, j) =
              weights.At(first + i, j) -
              Decode(coded.Code(first + i, j), coded.GridAt(first + i, j), coded.spec);
        }
      }
      Multiply(count, k, k, 1.0f, {difference.values.data(), k}, {hessian.values.data(), k}, 0.0f,
               {gradient.values.data(), k});
      for (int64_t i = 0; i < count; ++i) {
        for (int pass = 0; pass < sweeps; ++pass) {
          if (!Sweep(hessian, first + i, coded, gradient.Row(i))) break;
        }
      }
    }
  });
}

}  // namespace baton
