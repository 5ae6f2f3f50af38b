// Instantiations for up to 64 tokens.
#include "kernels/gemm/fp8_small.cuh"

namespace baton::kernels::cuda {

extern constexpr Fp8Launchers kFp8For64x1 = Fp8LaunchersOf<Fp8Variant{.tokens = 64, .groups = 1}>();
extern constexpr Fp8Launchers kFp8For64x2 = Fp8LaunchersOf<Fp8Variant{.tokens = 64, .groups = 2}>();

}  // namespace baton::kernels::cuda
