#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace baton {

// Expands blocks of a GGUF type to fp32, each operation rounded in the order in which the format's
// own programs compute it. `blocks` whole blocks at any address; out[blocks · values of a block].
using ExpandBlocks = void (*)(const std::byte* data, int64_t blocks, float* out);

// For Q4_0, Q4_1, Q5_0, Q5_1, Q8_0, Q4_K, Q5_K and Q6_K; null for any other name.
ExpandBlocks FindExpandBlocks(std::string_view type);

}  // namespace baton
