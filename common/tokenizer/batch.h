#pragma once

#include <iosfwd>

#include "absl/status/status.h"
#include "common/tokenizer/tokenizer.h"

namespace baton {

// Translates many texts: reads one JSON object a line from `input`, {"text": S} or
// {"token_ids": [...]}, and writes {"token_ids": [...]} or {"text": S} a line to `output`, in
// order. A bad line gives {"error": S} and does not stop the others. UNAVAILABLE when writing
// fails.
absl::Status TranslateJsonLines(const Tokenizer& tokenizer, EncodeOptions encode,
                                DetokenizeOptions decode, std::istream& input,
                                std::ostream& output);

}  // namespace baton
