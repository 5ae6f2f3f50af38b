// Instantiations for up to 32 tokens a block.
#include "kernels/gemm/w4a16_large.cuh"

namespace baton::kernels::cuda {

extern constexpr LargeLaunchers kLarge32x1x1x2 =
    LargeLaunchersOf<LargeVariant{.tokens = 32, .groups = 1, .parts = 2}>();
extern constexpr LargeLaunchers kLarge32x4x1x1 =
    LargeLaunchersOf<LargeVariant{.tokens = 32, .groups = 4}>();

}  // namespace baton::kernels::cuda
