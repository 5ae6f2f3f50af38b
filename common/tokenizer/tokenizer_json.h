#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "common/tokenizer/tokenizer_spec.h"

namespace baton {

// Reads the text of a Hugging Face tokenizer.json, which is untrusted. INVALID_ARGUMENT names the
// field that is malformed; UNIMPLEMENTED names the model, normalizer, pre-tokenizer, pattern or
// post-processor that is not built. `truncation` and `padding` are not applied.
absl::StatusOr<TokenizerSpec> ParseTokenizerJson(std::string_view json,
                                                 const TokenizerLimits& limits);

}  // namespace baton
