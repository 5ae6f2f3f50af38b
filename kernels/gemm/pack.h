// Packing on several threads.
#pragma once

#include <functional>
#include <span>
#include <string>

#include "kernels/gemm/packed_weight.h"

namespace baton::kernels {

// Calls its argument with every part of a whole, on whatever threads there are, and waits.
using PackRun = std::function<void(const std::function<void(int part, int parts)>&)>;

struct PackResult {
  PackedWeight weight;  // empty where there is a problem
  std::string problem;  // PackProblem(parts, scheme)
};

// Checks and packs in one pass over the codes. The work is split through `run`; the bytes do not
// depend on how.
PackResult PackInParts(std::span<const WeightView> parts, WeightScheme scheme, const PackRun& run);

}  // namespace baton::kernels
