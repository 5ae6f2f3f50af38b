#include "common/worker/port_file.h"

#include <cstdio>
#include <fstream>

#include "common/base/status.h"

namespace baton {

absl::Status WritePortFile(const std::string& path,
                           const std::vector<std::pair<std::string, int>>& ports) {
  if (path.empty()) return absl::OkStatus();
  const std::string temporary = path + ".new";
  {
    std::ofstream file(temporary, std::ios::trunc);
    for (const auto& [name, port] : ports) file << name << "=" << port << "\n";
    file.flush();
    if (!file) return Unavailable("port file: '{}' cannot be written", temporary);
  }
  if (std::rename(temporary.c_str(), path.c_str()) != 0) {
    return Unavailable("port file: '{}' cannot be written", path);
  }
  return absl::OkStatus();
}

}  // namespace baton
