#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "common/quant/algorithms/matrix.h"

namespace baton {

// The products and factorizations of the quantizers, on OpenBLAS. Every function here runs on its
// caller's thread alone: parallel work calls them from several threads on separate outputs.

// Where OpenBLAS does not know the processor and takes kernels without AVX2 on one that has it:
// what a user can do about it. Empty elsewhere.
std::string SlowProductsHint();

// Row-major views for the products; `ld`: values from row to row.
struct ConstView {
  const float* data;
  int64_t ld;
};
struct MutableView {
  float* data;
  int64_t ld;
};

// out[m,n] = beta · out + alpha · a[m,k] · b[n,k]ᵀ: the product of a linear layer.
void MultiplyTransposed(int64_t m, int64_t n, int64_t k, float alpha, ConstView a, ConstView b,
                        float beta, MutableView out);
// out[m,n] = beta · out + alpha · a[m,k] · b[k,n].
void Multiply(int64_t m, int64_t n, int64_t k, float alpha, ConstView a, ConstView b, float beta,
              MutableView out);

// gram[k,k] += x[m,k]ᵀ x. Tiles of the upper triangle are split over the parts and mirrored, so the
// result does not depend on the number of parts.
void AddGram(ConstView x, int64_t m, Matrix& gram, const Parallel& parallel);

// U, upper triangular, with h⁻¹ = Uᵀ U for a symmetric positive definite h[k,k]. One Cholesky
// factorization of h in reversed order and one triangular inverse: h⁻¹ itself is never formed.
// FAILED_PRECONDITION when h is not positive definite in fp32.
absl::StatusOr<Matrix> InverseCholesky(const Matrix& h);

// Solves a x = b in place for a small symmetric positive definite a[n,n] (both overwritten).
// Returns false when a is not positive definite.
bool SolveSmall(int64_t n, double* a, double* b);

Matrix Difference(const Matrix& a, const Matrix& b);  // a − b, of one shape
double SquaredNorm(const Matrix& m);                  // of all its values

// trace(d · h · dᵀ): what an error d[n,k] of a weight costs at its output, summed over the inputs
// that h = Xᵀ X was summed over.
double QuadraticError(const Matrix& d, const Matrix& h, const Parallel& parallel);

}  // namespace baton
