#include "kernels/gemm/pack_check.h"

#include <algorithm>

#include "kernels/numeric/formats.h"

namespace baton::kernels {

namespace {

using internal::Groups;
using internal::IsInt4;
using internal::kKUnit;

constexpr int64_t kMaxIntegerK = 65536;  // 255 · 127 · K stays below 2^31

std::string ViewProblem(const WeightView& v) {
  if (v.n <= 0 || v.k <= 0) return "matrix has no elements";
  if (v.codes_type == CodeType::kDense) {
    return v.dense == nullptr && v.rows == nullptr ? "dense data missing" : "";
  }
  if (v.codes == nullptr || v.scales == nullptr) return "codes or scales missing";
  if (v.group <= 0) return "group is " + std::to_string(v.group) + ", expected a positive size";
  return "";
}

std::string Int8Problem(const WeightView& v) {
  if (v.codes_type != CodeType::kInt8) return "W8A8 expects INT8 codes";
  if (v.group < v.k) return "W8A8 expects one scale per row, group is " + std::to_string(v.group);
  if (v.zeros != nullptr) return "W8A8 expects no zero points";
  if (v.k > kMaxIntegerK) return "K is " + std::to_string(v.k) + ", expected at most 65536";
  return "";
}

std::string Fp8Problem(const WeightView& v) {
  if (v.codes_type != CodeType::kE4m3) return "W8A8-FP8 expects e4m3 codes";
  if (v.group < v.k) {
    return "W8A8-FP8 expects one scale per row, group is " + std::to_string(v.group);
  }
  if (v.zeros != nullptr) return "W8A8-FP8 expects no zero points";
  return "";
}

std::string Int4Problem(const WeightView& v, WeightScheme scheme) {
  if (v.codes_type != CodeType::kInt4 && v.codes_type != CodeType::kUint4) {
    return "W4A16 and W4A8 expect INT4 codes";
  }
  if (v.group < v.k && v.group % kKUnit != 0) {
    return "group is " + std::to_string(v.group) + ", expected a multiple of 32";
  }
  if (scheme == WeightScheme::kW4A8 && v.k > kMaxIntegerK) {
    return "K is " + std::to_string(v.k) + ", expected at most 65536";
  }
  return "";
}

std::string Fp8CodesProblem(const WeightView& v) {
  uint8_t any = 0;  // the top bit: a magnitude of 0x7F
  for (int64_t i = 0; i < v.n * v.k; ++i) {
    any |= static_cast<uint8_t>((v.codes[i] & 0x7F) + (0x80 - kE4m3Nan));
  }
  return (any & 0x80) != 0 ? "e4m3 code is NaN, expected numbers" : "";
}

std::string Int4CodesProblem(const WeightView& v) {
  const int low = -internal::UnsignedOffset(v);
  int8_t smallest = v.codes[0];
  int8_t largest = v.codes[0];
  for (int64_t i = 0; i < v.n * v.k; ++i) {
    smallest = std::min(smallest, v.codes[i]);
    largest = std::max(largest, v.codes[i]);
  }
  if (smallest < low || largest > low + 15) {
    return "INT4 code " + std::to_string(smallest < low ? smallest : largest) + " is out of range";
  }
  if (v.zeros == nullptr) return "";
  const internal::ZeroRange zeros = internal::RangeOf(v.zeros, v.n * Groups(v));
  if (zeros.low < low || zeros.high > low + internal::kMaxUnsignedZero) {
    return "zero point " + std::to_string(zeros.low < low ? zeros.low : zeros.high) +
           " is out of range";
  }
  return "";
}

std::string FormOf(const WeightView& v, WeightScheme scheme) {
  if (scheme == WeightScheme::kW8A8) return Int8Problem(v);
  if (scheme == WeightScheme::kW8A8Fp8) return Fp8Problem(v);
  return IsInt4(scheme) ? Int4Problem(v, scheme) : "";
}

bool Agree(const WeightView& a, const WeightView& b) {
  const bool dense = a.codes_type == CodeType::kDense;
  return a.k == b.k && a.codes_type == b.codes_type &&
         (dense ? a.dense_type == b.dense_type
                : a.scale_type == b.scale_type && a.group == b.group);
}

}  // namespace

std::string internal::FormProblem(std::span<const WeightView> parts, WeightScheme scheme) {
  if (parts.empty()) return "no matrix";
  for (const WeightView& v : parts) {
    std::string problem = ViewProblem(v);
    if (problem.empty() && !Agree(parts.front(), v)) problem = "stacked matrices differ in form";
    if (problem.empty()) problem = FormOf(v, scheme);
    if (!problem.empty()) return problem;
  }
  return "";
}

std::string PackProblem(std::span<const WeightView> parts, WeightScheme scheme) {
  std::string problem = internal::FormProblem(parts, scheme);
  if (!problem.empty()) return problem;
  for (const WeightView& v : parts) {
    if (scheme == WeightScheme::kW8A8Fp8) problem = Fp8CodesProblem(v);
    if (IsInt4(scheme)) problem = Int4CodesProblem(v);
    if (!problem.empty()) return problem;
  }
  return "";
}

internal::ZeroRange internal::RangeOf(const int32_t* zeros, int64_t count) {
  int32_t low = zeros[0];
  int32_t high = zeros[0];
  for (int64_t i = 0; i < count; ++i) {
    low = std::min(low, zeros[i]);
    high = std::max(high, zeros[i]);
  }
  return {low, high};
}

}  // namespace baton::kernels
