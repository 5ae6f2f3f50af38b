#include "common/quant/algorithms/linear_algebra.h"

#include <cblas.h>

#include <algorithm>
#include <cmath>
#include <string_view>

#include "common/base/check.h"
#include "common/base/status.h"
#include "kernels/numeric/partition.h"

// LAPACK, as OpenBLAS exports it: column-major, everything by reference. Debian's cblas.h has no
// prototypes for these.
extern "C" {
void spotrf_(const char* uplo, const int* n, float* a, const int* lda, int* info);
void strtri_(const char* uplo, const char* diag, const int* n, float* a, const int* lda, int* info);
}

namespace baton {
namespace {

constexpr int64_t kTile = 256;  // columns of a Gram matrix that one call updates

int Narrow(int64_t value) {
  BATON_CHECK(value >= 0 && value <= INT32_MAX);
  return static_cast<int>(value);
}

// OpenBLAS starts threads of its own unless told not to; ours already fill the cores. Told once, by
// whoever comes first: the call is not for several threads at a time.
void OneThread() {
  static const bool told = [] {
    openblas_set_num_threads(1);
    return true;
  }();
  static_cast<void>(told);
}

void Gemm(CBLAS_TRANSPOSE trans_a, CBLAS_TRANSPOSE trans_b, int64_t m, int64_t n, int64_t k,
          float alpha, ConstView a, ConstView b, float beta, MutableView out) {
  if (m == 0 || n == 0) return;
  OneThread();
  cblas_sgemm(CblasRowMajor, trans_a, trans_b, Narrow(m), Narrow(n), Narrow(k), alpha, a.data,
              Narrow(a.ld), b.data, Narrow(b.ld), beta, out.data, Narrow(out.ld));
}

}  // namespace

std::string SlowProductsHint() {
#if defined(__x86_64__)
  // What releases take that are older than the processor.
  constexpr std::string_view kFallback = "Prescott";
  if (kFallback == openblas_get_corename() && __builtin_cpu_supports("avx2") != 0) {
    return "OpenBLAS does not know this processor and multiplies with its kernels for 'Prescott'; "
           "OPENBLAS_CORETYPE=Haswell in the environment makes that several times as fast";
  }
#endif
  return "";
}

void MultiplyTransposed(int64_t m, int64_t n, int64_t k, float alpha, ConstView a, ConstView b,
                        float beta, MutableView out) {
  Gemm(CblasNoTrans, CblasTrans, m, n, k, alpha, a, b, beta, out);
}

void Multiply(int64_t m, int64_t n, int64_t k, float alpha, ConstView a, ConstView b, float beta,
              MutableView out) {
  Gemm(CblasNoTrans, CblasNoTrans, m, n, k, alpha, a, b, beta, out);
}

void AddGram(ConstView x, int64_t m, Matrix& gram, const Parallel& parallel) {
  const int64_t k = gram.cols;
  const int64_t tiles = (k + kTile - 1) / kTile;
  parallel([&](int part, int parts) {
    for (int64_t tile = 0, i = 0; i < tiles; ++i) {
      for (int64_t j = i; j < tiles; ++j, ++tile) {
        if (tile % parts != part) continue;
        const int64_t rows = std::min(kTile, k - i * kTile);
        const int64_t cols = std::min(kTile, k - j * kTile);
        float* out = gram.values.data() + i * kTile * k + j * kTile;
        Gemm(CblasTrans, CblasNoTrans, rows, cols, m, 1.0f, {x.data + i * kTile, x.ld},
             {x.data + j * kTile, x.ld}, 1.0f, {out, k});
        if (i == j) continue;
        for (int64_t r = 0; r < rows; ++r) {
          for (int64_t c = 0; c < cols; ++c) {
            gram.At(j * kTile + c, i * kTile + r) = gram.At(i * kTile + r, j * kTile + c);
          }
        }
      }
    }
  });
}

absl::StatusOr<Matrix> InverseCholesky(const Matrix& h) {
  BATON_CHECK(h.rows == h.cols);
  OneThread();
  const int64_t k = h.rows;
  const int n = Narrow(k);
  // With P the reversal of order: P h P = L Lᵀ gives h = R Rᵀ for the upper R = P L P, hence
  // U = R⁻¹ = P L⁻¹ P.
  Matrix flipped(k, k);
  std::reverse_copy(h.values.begin(), h.values.end(), flipped.values.begin());
  int info = 0;
  spotrf_("L", &n, flipped.values.data(), &n, &info);
  if (info == 0) strtri_("L", "N", &n, flipped.values.data(), &n, &info);
  if (info != 0) return FailedPrecondition("Hessian: not positive definite at order {}", info);
  Matrix upper(k, k);
  for (int64_t i = 0; i < k; ++i) {
    for (int64_t j = i; j < k; ++j) {
      const float value = flipped.values[static_cast<size_t>((k - 1 - j) * k + (k - 1 - i))];
      if (!std::isfinite(value)) {
        return FailedPrecondition("Hessian: its factor is not finite at column {}", j);
      }
      upper.At(i, j) = value;
    }
  }
  return upper;
}

bool SolveSmall(int64_t n, double* a, double* b) {
  for (int64_t j = 0; j < n; ++j) {
    double diagonal = a[j * n + j];
    for (int64_t p = 0; p < j; ++p) diagonal -= a[j * n + p] * a[j * n + p];
    if (!(diagonal > 0)) return false;
    a[j * n + j] = std::sqrt(diagonal);
    for (int64_t i = j + 1; i < n; ++i) {
      double sum = a[i * n + j];
      for (int64_t p = 0; p < j; ++p) sum -= a[i * n + p] * a[j * n + p];
      a[i * n + j] = sum / a[j * n + j];
    }
  }
  for (int64_t i = 0; i < n; ++i) {
    for (int64_t p = 0; p < i; ++p) b[i] -= a[i * n + p] * b[p];
    b[i] /= a[i * n + i];
  }
  for (int64_t i = n - 1; i >= 0; --i) {
    for (int64_t p = i + 1; p < n; ++p) b[i] -= a[p * n + i] * b[p];
    b[i] /= a[i * n + i];
  }
  return true;
}

Matrix Difference(const Matrix& a, const Matrix& b) {
  Matrix d = a;
  for (size_t i = 0; i < d.values.size(); ++i) d.values[i] -= b.values[i];
  return d;
}

double SquaredNorm(const Matrix& m) {
  double sum = 0;
  for (const float x : m.values) sum += static_cast<double>(x) * x;
  return sum;
}

double QuadraticError(const Matrix& d, const Matrix& h, const Parallel& parallel) {
  BATON_CHECK(d.cols == h.rows && h.rows == h.cols);
  constexpr int64_t kRows = 64;  // fixed, so the sum does not depend on the parts
  const int64_t blocks = (d.rows + kRows - 1) / kRows;
  std::vector<double> sums(static_cast<size_t>(blocks));
  parallel([&](int part, int parts) {
    const kernels::Range share = kernels::Partition(blocks, part, parts);
    std::vector<float> product(static_cast<size_t>(kRows * d.cols));
    for (int64_t block = share.begin; block < share.end; ++block) {
      const int64_t first = block * kRows;
      const int64_t rows = std::min(kRows, d.rows - first);
      const float* from = d.values.data() + first * d.cols;
      Multiply(rows, d.cols, d.cols, 1.0f, {from, d.cols}, {h.values.data(), h.cols}, 0.0f,
               {product.data(), d.cols});
      double sum = 0;
      for (int64_t i = 0; i < rows; ++i) {
        float dot = 0;
        for (int64_t j = 0; j < d.cols; ++j) dot += from[i * d.cols + j] * product[i * d.cols + j];
        sum += dot;
      }
      sums[static_cast<size_t>(block)] = sum;
    }
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

}  // namespace baton
