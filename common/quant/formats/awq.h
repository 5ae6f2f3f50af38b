#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "common/quant/formats/format_reader.h"

namespace baton {

// AutoAWQ, layouts "gemm" and "gemv": 4 bits, groups along K, integer zero points stored as they
// are (README.md). UNIMPLEMENTED for other layouts and widths.
absl::StatusOr<std::unique_ptr<FormatReader>> MakeAwqReader(const JsonFields& config);

}  // namespace baton
