#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "common/quant/formats/format_reader.h"

namespace baton {

// The block formats of GGUF, as Checkpoint gives them: "<module>.gguf.<type>" U8 [N, bytes of K
// values]. The configuration has nothing to say beyond the format's name.
absl::StatusOr<std::unique_ptr<FormatReader>> MakeGgufReader(const JsonFields& config);

}  // namespace baton
