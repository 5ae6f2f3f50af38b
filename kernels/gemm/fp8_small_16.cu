// Instantiations for up to 16 tokens.
#include "kernels/gemm/fp8_small.cuh"

namespace baton::kernels::cuda {

extern constexpr Fp8Launchers kFp8For16x1 = Fp8LaunchersOf<Fp8Variant{.tokens = 16, .groups = 1}>();
extern constexpr Fp8Launchers kFp8For16x2 = Fp8LaunchersOf<Fp8Variant{.tokens = 16, .groups = 2}>();

}  // namespace baton::kernels::cuda
