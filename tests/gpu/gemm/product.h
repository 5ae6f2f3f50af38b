// Products on the host for the GEMM tests, and the bounds they are compared with.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace baton::kernels::cuda {

// out[r, n] = Σ a[rows[r], k] · w[n, k] (+ bias[n]) in double. Only the rows asked for.
std::vector<float> ProductRows(std::span<const float> a, std::span<const float> w,
                               std::span<const float> bias, std::span<const int> rows, int n,
                               int k);

// Up to `count` rows of m, the first and the last among them.
std::vector<int> SampleRows(int m, int count);

// ‖|A|·|W|ᵀ‖ / ‖A·Wᵀ‖ for independent zero-mean operands: how far the terms of a sum exceed it.
double Cancellation(int k);

}  // namespace baton::kernels::cuda
