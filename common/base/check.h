#pragma once

namespace baton {

// Prints the failed condition and ends the process: for our own bugs only, never for outside input.
[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);

}  // namespace baton

#define BATON_CHECK(condition) \
  (static_cast<bool>(condition) ? void(0) : ::baton::CheckFailed(#condition, __FILE__, __LINE__))
