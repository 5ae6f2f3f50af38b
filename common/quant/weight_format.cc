#include "common/quant/weight_format.h"

#include <array>

#include "common/base/check.h"
#include "common/base/status.h"

namespace baton {
namespace {

using kernels::CodeType;
using kernels::WeightScheme;

constexpr int kDefaultGroup = 128;

struct FormatRow {
  WeightFormat format;
  std::string_view name;
};

constexpr std::array kFormats = {
    FormatRow{WeightFormat::kFp32, "fp32"}, FormatRow{WeightFormat::kFp16, "fp16"},
    FormatRow{WeightFormat::kW8A8, "w8a8"}, FormatRow{WeightFormat::kW4A16, "w4a16"},
    FormatRow{WeightFormat::kW4A8, "w4a8"}, FormatRow{WeightFormat::kW8A8Fp8, "w8a8-fp8"},
    FormatRow{WeightFormat::kAuto, "auto"},
};

WeightScheme DenseScheme(DataType stored) {
  switch (stored) {
    case DataType::kF16:
      return WeightScheme::kFp16;
    case DataType::kBf16:
      return WeightScheme::kBf16;
    default:
      return WeightScheme::kFp32;
  }
}

}  // namespace

std::string_view NameOf(WeightFormat format) {
  for (const FormatRow& row : kFormats) {
    if (row.format == format) return row.name;
  }
  BATON_CHECK(false && "every WeightFormat has a name");
  return "";
}

absl::StatusOr<WeightFormat> ParseWeightFormat(std::string_view name) {
  for (const FormatRow& row : kFormats) {
    if (row.name == name) return row.format;
  }
  std::string expected;
  for (const FormatRow& row : kFormats) {
    if (&row != &kFormats.front()) expected += &row == &kFormats.back() ? " or " : ", ";
    expected += row.name;
  }
  return InvalidArgument("weights: '{}', expected {}", name, expected);
}

MatrixPlan PlanLinear(WeightFormat format, DataType stored) {
  switch (format) {
    case WeightFormat::kFp32:
      return {WeightScheme::kFp32, CodeType::kDense, 0};
    case WeightFormat::kFp16:
      return {WeightScheme::kFp16, CodeType::kDense, 0};
    case WeightFormat::kW8A8:
      return {WeightScheme::kW8A8, CodeType::kInt8, 0};
    case WeightFormat::kW8A8Fp8:
      return {WeightScheme::kW8A8Fp8, CodeType::kE4m3, 0};
    case WeightFormat::kW4A16:
      return {WeightScheme::kW4A16, CodeType::kUint4, kDefaultGroup};
    case WeightFormat::kW4A8:
      return {WeightScheme::kW4A8, CodeType::kUint4, kDefaultGroup};
    case WeightFormat::kAuto:
      return {DenseScheme(stored), CodeType::kDense, 0};
  }
  BATON_CHECK(false && "every WeightFormat has a plan");
  return {};
}

MatrixPlan PlanEmbedding(WeightFormat format, DataType stored) {
  if (format == WeightFormat::kFp32) return {WeightScheme::kFp32, CodeType::kDense, 0};
  if (stored == DataType::kF32 && format != WeightFormat::kAuto) {
    return {WeightScheme::kFp16, CodeType::kDense, 0};
  }
  return {DenseScheme(stored), CodeType::kDense, 0};
}

int GroupFor(int64_t k, int wanted) {
  for (const int group : {wanted, 128, 64, 32}) {
    if (group <= wanted && group > 0 && k % group == 0) return group;
  }
  return static_cast<int>(k);
}

Digest WeightsDigest(const Digest& checkpoint, WeightFormat format) {
  return DigestBuilder().Add(checkpoint).Add(NameOf(format)).Finish();
}

}  // namespace baton
