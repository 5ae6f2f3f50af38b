#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

namespace baton {

// An owned fp32 matrix, row-major without gaps.
struct Matrix {
  Matrix() = default;
  Matrix(int64_t rows, int64_t cols)
      : rows(rows), cols(cols), values(static_cast<size_t>(rows * cols)) {}

  std::span<float> Row(int64_t i) { return {values.data() + i * cols, static_cast<size_t>(cols)}; }
  std::span<const float> Row(int64_t i) const {
    return {values.data() + i * cols, static_cast<size_t>(cols)};
  }
  float& At(int64_t i, int64_t j) { return values[static_cast<size_t>(i * cols + j)]; }
  float At(int64_t i, int64_t j) const { return values[static_cast<size_t>(i * cols + j)]; }
  bool empty() const { return values.empty(); }

  int64_t rows = 0;
  int64_t cols = 0;
  std::vector<float> values;  // [rows, cols]
};

// Calls the function once for each part, (part, parts), and returns when all have returned: the run
// of a thread pool, or Serial().
using Parallel = std::function<void(const std::function<void(int part, int parts)>&)>;

// One part, on the caller's thread.
inline Parallel Serial() {
  return [](const std::function<void(int, int)>& fn) { fn(0, 1); };
}

}  // namespace baton
