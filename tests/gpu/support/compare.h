// Comparisons of device results with references.
#pragma once

#include <span>
#include <string>

#include "gtest/gtest.h"

namespace baton::kernels::cuda {

// Norm-relative: ‖actual - expected‖ / ‖expected‖ over the finite positions is at most
// `bound` (absolute where the reference is all zero), and NaN and ±infinity stand at the same
// positions. An element that was never written (poison) is a NaN and so fails.
::testing::AssertionResult NormClose(std::span<const float> actual, std::span<const float> expected,
                                     double bound);

// |actual[i] - expected[i]| <= absolute + relative · |expected[i]| everywhere; NaN and ±infinity at
// the same positions.
::testing::AssertionResult ElementsClose(std::span<const float> actual,
                                         std::span<const float> expected, double absolute,
                                         double relative);

}  // namespace baton::kernels::cuda
