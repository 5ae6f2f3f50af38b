#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "common/quant/formats/format_reader.h"

namespace baton {

// compressed-tensors: pack-quantized, int-quantized, float-quantized and naive-quantized,
// strategies tensor, channel, group, block and token, integers of 2 to 8 bits and fp8 (README.md).
absl::StatusOr<std::unique_ptr<FormatReader>> MakeCompressedTensorsReader(const JsonFields& config);

}  // namespace baton
