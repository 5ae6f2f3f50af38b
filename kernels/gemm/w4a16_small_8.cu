// Instantiations for up to 8 tokens.
#include "kernels/gemm/w4a16_small.cuh"

namespace baton::kernels::cuda {

extern constexpr SmallLaunchers kSmall8x1x8 =
    SmallLaunchersOf<SmallVariant{.tokens = 8, .tiles = 1, .warps = 8}>();
extern constexpr SmallLaunchers kSmall8x2x8 =
    SmallLaunchersOf<SmallVariant{.tokens = 8, .tiles = 2, .warps = 8}>();
extern constexpr SmallLaunchers kSmall8x2x16 =
    SmallLaunchersOf<SmallVariant{.tokens = 8, .tiles = 2, .warps = 16}>();
extern constexpr SmallLaunchers kSmall8x7x4 =
    SmallLaunchersOf<SmallVariant{.tokens = 8, .tiles = 7, .warps = 4}>();

}  // namespace baton::kernels::cuda
