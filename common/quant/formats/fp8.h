#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "common/quant/formats/format_reader.h"

namespace baton {

// "fp8": e4m3fn weights with one scale per tensor or row, or per block (weight_block_size,
// weight_scale_inv, which multiplies despite its name); static or dynamic inputs.
absl::StatusOr<std::unique_ptr<FormatReader>> MakeFp8Reader(const JsonFields& config);

// "fbgemm_fp8": e4m3fn weights with one scale per row, inputs per token with an upper bound on the
// magnitude that makes the scale.
absl::StatusOr<std::unique_ptr<FormatReader>> MakeFbgemmFp8Reader(const JsonFields& config);

}  // namespace baton
