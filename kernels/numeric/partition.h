// How the work of one kernel call is split among the threads of a pool.
#pragma once

#include <algorithm>
#include <cstdint>

namespace baton::kernels {

struct Range {
  int64_t begin = 0;
  int64_t end = 0;
  int64_t size() const { return end - begin; }
  bool empty() const { return begin >= end; }
  bool operator==(const Range&) const = default;
};

// The share of `part` (0 … parts-1) in [0, total): contiguous, disjoint and complete over all
// parts. Every boundary but `total` is a multiple of `multiple`; shares differ by at most one
// multiple, larger ones first; a share may be empty. Needs total ≥ 0, parts ≥ 1, multiple ≥ 1.
inline Range Partition(int64_t total, int part, int parts, int64_t multiple = 1) {
  const int64_t units = total / multiple + (total % multiple != 0 ? 1 : 0);
  const int64_t each = units / parts;
  const int64_t extra = units % parts;
  const int64_t first = part * each + std::min<int64_t>(part, extra);
  const int64_t count = each + (part < extra ? 1 : 0);
  return {std::min(first * multiple, total), std::min((first + count) * multiple, total)};
}

}  // namespace baton::kernels
