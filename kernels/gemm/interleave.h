// The rows of a panel side by side, at load.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/gemm/packed_weight.h"

namespace baton::kernels::internal {

// to[i][lane] = rows[lane][i] for i in [0, count), in units of `unit` bytes: 1, 2 or 4. Writes in
// ascending order; nothing needs to be aligned.
void InterleaveRows(std::span<const uint8_t* const, PackedWeight::kPanel> rows, int64_t count,
                    size_t unit, uint8_t* to);

}  // namespace baton::kernels::internal
