#include "kernels/gemm/lt_key.h"

#include <algorithm>
#include <bit>
#include <initializer_list>

namespace baton::kernels::cuda {
namespace {

constexpr int64_t kUnit = 64;      // of N and K
constexpr int64_t kRowValues = 8;  // 16 bytes of activations

const char* ShapeProblem(int m, int n, int k, int64_t ldo) {
  if (m < 1) return "m: expected at least 1";
  if (n < 1 || n % kUnit != 0) return "n: expected a positive multiple of 64";
  if (k < 1 || k % kUnit != 0) return "k: expected a positive multiple of 64";
  if (ldo < n || ldo % kRowValues != 0) return "ldo: expected a multiple of 8, at least n";
  return nullptr;
}

// The library's best algorithms may ask for more than the 16 bytes that we do.
int AlignmentOf(std::initializer_list<const void*> pointers) {
  uintptr_t bits = 0;
  for (const void* pointer : pointers) bits |= reinterpret_cast<uintptr_t>(pointer);
  return bits % 256 == 0 ? 256 : 16;
}

}  // namespace

const char* GemmF16Problem(const GemmF16Params& params) {
  if (params.lda < params.k || params.lda % kRowValues != 0) {
    return "lda: expected a multiple of 8, at least k";
  }
  return ShapeProblem(params.m, params.n, params.k, params.ldo);
}

const char* GemmFp8Problem(const GemmFp8Params& params) {
  return ShapeProblem(params.m, params.n, params.k, params.ldo);
}

int LtRowBucket(int m) {
  const int step = std::max(1, static_cast<int>(std::bit_floor(static_cast<unsigned>(m))) / 8);
  return (m + step - 1) / step * step;
}

LtKey KeyOf(const GemmF16Params& params) {
  return {.kind = LtKind::kF16,
          .type = params.type,
          .bias = params.bias != nullptr,
          .m = LtRowBucket(params.m),
          .n = params.n,
          .k = params.k,
          .lda = params.lda,
          .ldo = params.ldo,
          .alignment = AlignmentOf({params.a, params.w, params.out})};
}

LtKey KeyOf(const GemmFp8Params& params) {
  return {.kind = params.mode == Fp8Mode::kExact ? LtKind::kFp8Exact : LtKind::kFp8FastAccum,
          .type = params.type,
          .bias = params.bias != nullptr,
          .m = LtRowBucket(params.m),
          .n = params.n,
          .k = params.k,
          .lda = params.k,
          .ldo = params.ldo,
          .alignment = AlignmentOf({params.a, params.w, params.out})};
}

}  // namespace baton::kernels::cuda
