#pragma once

#include <string>
#include <string_view>

namespace baton {

// Unicode normalization form C of well-formed UTF-8, in time n log n at worst (also for long runs
// of combining marks).
std::string NormalizeNfc(std::string_view utf8);

}  // namespace baton
