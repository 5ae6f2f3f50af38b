// Instantiations for up to 8 tokens.
#include "kernels/gemm/fp8_small.cuh"

namespace baton::kernels::cuda {

extern constexpr Fp8Launchers kFp8For8x1 = Fp8LaunchersOf<Fp8Variant{.tokens = 8, .groups = 1}>();
extern constexpr Fp8Launchers kFp8For8x2 = Fp8LaunchersOf<Fp8Variant{.tokens = 8, .groups = 2}>();

}  // namespace baton::kernels::cuda
