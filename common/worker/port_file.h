#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/status.h"

namespace baton {

// Writes lines "name=port" into `path`, all of them or nothing: whoever finds the file finds it
// complete. An empty path does nothing.
absl::Status WritePortFile(const std::string& path,
                           const std::vector<std::pair<std::string, int>>& ports);

}  // namespace baton
