// A table on stdout, printed row by row so that a long run shows its progress.
#pragma once

#include <fmt/core.h>

#include <algorithm>
#include <cstdio>
#include <string>
#include <vector>

namespace baton::bench {

class Table {
 public:
  // Prints the head. The first column is aligned left, the others right.
  explicit Table(std::vector<std::string> columns) : columns_(std::move(columns)) { Row(columns_); }

  // As many cells as columns.
  void Row(const std::vector<std::string>& cells) const {
    for (size_t i = 0; i < cells.size(); ++i) {
      const size_t width = std::max<size_t>(columns_[i].size(), i == 0 ? 28 : 8);
      if (i == 0) {
        fmt::print("{:<{}}", cells[i], width);
      } else {
        fmt::print("  {:>{}}", cells[i], width);
      }
    }
    fmt::print("\n");
    std::fflush(stdout);
  }

 private:
  std::vector<std::string> columns_;
};

inline std::string Number(double value, int digits = 1) {
  return fmt::format("{:.{}f}", value, digits);
}
inline std::string Percent(double share) { return fmt::format("{:.0f} %", 100.0 * share); }

}  // namespace baton::bench
