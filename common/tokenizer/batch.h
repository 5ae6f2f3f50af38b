#pragma once

#include <iosfwd>

#include "absl/status/status.h"
#include "common/tokenizer/tokenizer.h"

namespace baton {

// Encodes many texts: reads one JSON object {"text": S} a line from `input` and writes one
// {"token_ids": [...]} or {"error": S} a line to `output`, in order. A bad line gives an error
// line and does not stop the others. UNAVAILABLE when writing fails.
absl::Status EncodeJsonLines(const Tokenizer& tokenizer, EncodeOptions options, std::istream& input,
                             std::ostream& output);

}  // namespace baton
