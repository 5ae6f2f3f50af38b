// Packing on several threads.
#pragma once

#include <functional>
#include <span>

#include "kernels/gemm/packed_weight.h"

namespace baton::kernels {

// Calls its argument with every part of a whole, on whatever threads there are, and waits.
using PackRun = std::function<void(const std::function<void(int part, int parts)>&)>;

// Packs; PackProblem(parts, scheme) must be empty. The work is split through `run`.
PackedWeight PackInParts(std::span<const WeightView> parts, WeightScheme scheme,
                         const PackRun& run);

}  // namespace baton::kernels
