#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "common/quant/formats/format_reader.h"

namespace baton {

// HQQ: 8, 4, 3 or 2 bits, groups along either axis, floating zero points (README.md).
// UNIMPLEMENTED for other widths, quantized scales and zero points, and view_as_float.
absl::StatusOr<std::unique_ptr<FormatReader>> MakeHqqReader(const JsonFields& config);

}  // namespace baton
