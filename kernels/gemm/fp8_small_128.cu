// Instantiations for up to 128 tokens.
#include "kernels/gemm/fp8_small.cuh"

namespace baton::kernels::cuda {

extern constexpr Fp8Launchers kFp8For128x1 =
    Fp8LaunchersOf<Fp8Variant{.tokens = 128, .groups = 1}>();
extern constexpr Fp8Launchers kFp8For128x2 =
    Fp8LaunchersOf<Fp8Variant{.tokens = 128, .groups = 2}>();

}  // namespace baton::kernels::cuda
