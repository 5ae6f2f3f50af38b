#pragma once

#include <functional>

namespace baton {

// Calls its argument with every part of a whole, on whatever threads there are, and waits.
using RunParts = std::function<void(const std::function<void(int part, int parts)>&)>;
// On the caller's thread.
inline void RunSerially(const std::function<void(int part, int parts)>& work) { work(0, 1); }

}  // namespace baton
