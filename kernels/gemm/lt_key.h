// Which products share a cuBLASLt algorithm, and which shapes are refused: pure, tested without a
// GPU.
#pragma once

#include <compare>
#include <cstdint>

#include "kernels/cuda/types.h"
#include "kernels/gemm/cuda.h"

namespace baton::kernels::cuda {

// What an algorithm is chosen for. Pure: equal problems have equal keys.
enum class LtKind : uint8_t { kF16, kFp8FastAccum, kFp8Exact };
struct LtKey {
  LtKind kind = LtKind::kF16;
  ActivationType type = ActivationType::kFp16;
  bool bias = false;
  int m = 0;  // a bucket of LtRowBucket
  int n = 0;
  int k = 0;
  int64_t lda = 0;
  int64_t ldo = 0;
  int alignment = 16;  // bytes, of all matrices: 256 or 16

  auto operator<=>(const LtKey&) const = default;
};
LtKey KeyOf(const GemmF16Params& params);
LtKey KeyOf(const GemmFp8Params& params);
// The number of rows whose algorithm serves m rows: m rounded up to a multiple of about an eighth
// of its size, so that ragged batches reuse algorithms.
int LtRowBucket(int m);

}  // namespace baton::kernels::cuda
