#pragma once

#include <string>
#include <string_view>

namespace baton {

// Unicode normalization form C of well-formed UTF-8 as the reference tokenizer has it: characters
// newer than its tables stay as and where they are. Time n log n at worst, also for long runs of
// combining marks.
std::string NormalizeNfc(std::string_view utf8);

}  // namespace baton
