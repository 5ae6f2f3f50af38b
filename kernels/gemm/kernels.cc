#include <iterator>

#include "kernels/gemm/config.h"
#include "kernels/gemm/fp8_kernels.h"
#include "kernels/gemm/w4a16_kernels.h"

namespace baton::kernels::cuda {

extern const SmallLaunchers kSmall8x1x8, kSmall8x2x8, kSmall8x2x16, kSmall8x7x4, kSmall16x2x4,
    kSmall16x2x8, kSmall16x3x8, kSmall16x7x4;
extern const LargeLaunchers kLarge32x1x1x2, kLarge32x4x1x1, kLarge64x1x1x2, kLarge64x2x1x1,
    kLarge64x2x2x1, kLarge128x1x1x1, kLarge128x1x1x2, kLarge128x2x1x1, kLarge128x2x2x1,
    kLarge256x2x1x1;
extern const Fp8Launchers kFp8For8x1, kFp8For8x2, kFp8For16x1, kFp8For16x2, kFp8For32x1,
    kFp8For64x1, kFp8For64x2, kFp8For128x1, kFp8For128x2;

const SmallLaunchers& SmallKernels(int variant) {
  static constexpr const SmallLaunchers* kAll[] = {&kSmall8x1x8,  &kSmall8x2x8,  &kSmall8x2x16,
                                                   &kSmall8x7x4,  &kSmall16x2x4, &kSmall16x2x8,
                                                   &kSmall16x3x8, &kSmall16x7x4};
  static_assert(std::size(kAll) == std::size(kSmallVariants));
  return *kAll[variant];
}

const LargeLaunchers& LargeKernels(int variant) {
  static constexpr const LargeLaunchers* kAll[] = {
      &kLarge32x1x1x2,  &kLarge32x4x1x1,  &kLarge64x1x1x2,  &kLarge64x2x1x1,  &kLarge64x2x2x1,
      &kLarge128x1x1x1, &kLarge128x1x1x2, &kLarge128x2x1x1, &kLarge128x2x2x1, &kLarge256x2x1x1};
  static_assert(std::size(kAll) == std::size(kLargeVariants));
  return *kAll[variant];
}

const Fp8Launchers& Fp8Kernels(int variant) {
  static constexpr const Fp8Launchers* kAll[] = {&kFp8For8x1,  &kFp8For8x2,   &kFp8For16x1,
                                                 &kFp8For16x2, &kFp8For32x1,  &kFp8For64x1,
                                                 &kFp8For64x2, &kFp8For128x1, &kFp8For128x2};
  static_assert(std::size(kAll) == std::size(kFp8Variants));
  return *kAll[variant];
}

}  // namespace baton::kernels::cuda
