// Instantiations for up to 16 tokens.
#include "kernels/gemm/w4a16_small.cuh"

namespace baton::kernels::cuda {

extern constexpr SmallLaunchers kSmall16x2x4 =
    SmallLaunchersOf<SmallVariant{.tokens = 16, .tiles = 2, .warps = 4}>();
extern constexpr SmallLaunchers kSmall16x2x8 =
    SmallLaunchersOf<SmallVariant{.tokens = 16, .tiles = 2, .warps = 8}>();
extern constexpr SmallLaunchers kSmall16x3x8 =
    SmallLaunchersOf<SmallVariant{.tokens = 16, .tiles = 3, .warps = 8}>();
extern constexpr SmallLaunchers kSmall16x7x4 =
    SmallLaunchersOf<SmallVariant{.tokens = 16, .tiles = 7, .warps = 4}>();

}  // namespace baton::kernels::cuda
