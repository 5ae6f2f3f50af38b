#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "common/quant/formats/format_reader.h"

namespace baton {

// GPTQ, checkpoint formats "gptq" (v1) and "gptq_v2": 2, 3, 4 or 8 bits packed along K, g_idx for
// act-order. A zero point of a v1 file is what is stored plus one, not wrapped: a stored 15 means
// 16 (README.md). UNIMPLEMENTED for Marlin's layout and other widths.
absl::StatusOr<std::unique_ptr<FormatReader>> MakeGptqReader(const JsonFields& config);

}  // namespace baton
