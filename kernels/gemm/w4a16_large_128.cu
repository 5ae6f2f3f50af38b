// Instantiations for up to 128 tokens a block.
#include "kernels/gemm/w4a16_large.cuh"

namespace baton::kernels::cuda {

extern constexpr LargeLaunchers kLarge128x1x1x1 =
    LargeLaunchersOf<LargeVariant{.tokens = 128, .groups = 1}>();
extern constexpr LargeLaunchers kLarge128x1x1x2 =
    LargeLaunchersOf<LargeVariant{.tokens = 128, .groups = 1, .parts = 2}>();
extern constexpr LargeLaunchers kLarge128x2x1x1 =
    LargeLaunchersOf<LargeVariant{.tokens = 128, .groups = 2}>();
extern constexpr LargeLaunchers kLarge128x2x2x1 =
    LargeLaunchersOf<LargeVariant{.tokens = 128, .groups = 2, .blocks = 2}>();

}  // namespace baton::kernels::cuda
