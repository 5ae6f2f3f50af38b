#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "common/model/json.h"

namespace baton {

// Checkpoint formats by the program family that writes them.
enum class QuantFormat {
  kCompressedTensors,
  kAwq,
  kGptq,
  kFp8,
  kFbgemmFp8,
  kBitsAndBytes,
  kHqq,
  kGguf,
};

std::string_view NameOf(QuantFormat format);  // as "quant_method" spells it

// The format of a quantization_config: its "quant_method", or what the keys of older files tell.
// UNIMPLEMENTED, naming the value, for any other.
absl::StatusOr<QuantFormat> DetectFormat(const JsonFields& config);

}  // namespace baton
