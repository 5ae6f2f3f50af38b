// Instantiations for up to 256 tokens a block.
#include "kernels/gemm/w4a16_large.cuh"

namespace baton::kernels::cuda {

extern constexpr LargeLaunchers kLarge256x2x1x1 =
    LargeLaunchersOf<LargeVariant{.tokens = 256, .groups = 2}>();

}  // namespace baton::kernels::cuda
