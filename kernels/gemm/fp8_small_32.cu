// Instantiations for up to 32 tokens.
#include "kernels/gemm/fp8_small.cuh"

namespace baton::kernels::cuda {

extern constexpr Fp8Launchers kFp8For32x1 = Fp8LaunchersOf<Fp8Variant{.tokens = 32, .groups = 1}>();

}  // namespace baton::kernels::cuda
