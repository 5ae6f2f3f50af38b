// What packing asks of its views: by their form alone, and of the numbers that they hold.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "kernels/gemm/packed_weight.h"

namespace baton::kernels::internal {

inline constexpr int64_t kKUnit = 32;     // code matrices are padded to this along K
inline constexpr int kSymmetricZero = 8;  // the zero point of signed INT4 in unsigned codes
inline constexpr int32_t kMaxUnsignedZero = 255;

inline bool IsDense(WeightScheme scheme) { return scheme <= WeightScheme::kBf16; }
inline bool IsInt4(WeightScheme scheme) {
  return scheme == WeightScheme::kW4A16 || scheme == WeightScheme::kW4A8;
}
inline int64_t Groups(const WeightView& v) { return (v.k + v.group - 1) / v.group; }

// Codes and zero points of a view plus this are those in unsigned terms.
inline int UnsignedOffset(const WeightView& v) {
  return v.codes_type == CodeType::kInt4 ? kSymmetricZero : 0;
}

// PackProblem but for what depends on codes and zero points.
std::string FormProblem(std::span<const WeightView> parts, WeightScheme scheme);

// The smallest and the largest of `count` zero points, as they are stored. count ≥ 1.
struct ZeroRange {
  int32_t low = 0;
  int32_t high = 0;
};
ZeroRange RangeOf(const int32_t* zeros, int64_t count);

}  // namespace baton::kernels::internal
