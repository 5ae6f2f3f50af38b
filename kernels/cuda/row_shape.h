// The block of a kernel that keeps one row in registers: threads × vectors of 8 values each. Pure.
#pragma once

#include <cstdint>

namespace baton::kernels::cuda {

enum class RowShape : uint8_t { k128x2, k256x2, k512x4, k1024x4, kTooWide };

// The smallest that holds dim values: few threads for narrow rows (more blocks on a
// multiprocessor), at most four loads in flight a thread for wide ones.
constexpr RowShape RowShapeFor(int dim) {
  if (dim <= 128 * 2 * 8) return RowShape::k128x2;
  if (dim <= 256 * 2 * 8) return RowShape::k256x2;
  if (dim <= 512 * 4 * 8) return RowShape::k512x4;
  if (dim <= 1024 * 4 * 8) return RowShape::k1024x4;
  return RowShape::kTooWide;
}

}  // namespace baton::kernels::cuda
