#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "common/quant/formats/format_reader.h"

namespace baton {

// bitsandbytes: nf4 and fp4 (a table of 16 values and a magnitude per block of the flattened
// matrix, whose magnitudes may themselves be quantized), and the INT8 weights of LLM.int8()
// (README.md). A module whose ".weight" is a floating tensor and has no quant_state is unquantized.
absl::StatusOr<std::unique_ptr<FormatReader>> MakeBitsAndBytesReader(const JsonFields& config);

}  // namespace baton
