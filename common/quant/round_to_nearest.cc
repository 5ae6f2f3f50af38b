#include "common/quant/round_to_nearest.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "common/base/check.h"
#include "kernels/gemm/float_rows.h"
#include "kernels/numeric/formats.h"
#include "kernels/numeric/partition.h"

namespace baton {
namespace {

using kernels::CodeType;
using kernels::ScalarType;

constexpr uint16_t kFp16One = 0x3C00;

struct Extremes {
  float min;
  float max;
  bool finite;
};

Extremes ExtremesOf(std::span<const float> w) {
  Extremes e{w[0], w[0], true};
  for (const float x : w) {
    e.min = std::min(e.min, x);
    e.max = std::max(e.max, x);
    e.finite = e.finite && std::isfinite(x);
  }
  return e;
}

struct Group {
  uint16_t scale;
  int32_t zero;
};

int8_t Code(float quotient, int offset, int low, int high) {
  const float rounded = std::nearbyint(quotient) + static_cast<float>(offset);
  return static_cast<int8_t>(
      std::clamp(rounded, static_cast<float>(low), static_cast<float>(high)));
}

Group Symmetric(std::span<const float> w, const Extremes& e, float divisor, int low, int high,
                int8_t* codes) {
  const float amax = std::max(std::abs(e.min), std::abs(e.max));
  uint16_t scale = kernels::Fp16FromFloat(amax / divisor);
  if (scale == 0) scale = kFp16One;
  const float s = kernels::FloatFromFp16(scale);
  for (size_t i = 0; i < w.size(); ++i) codes[i] = Code(w[i] / s, 0, low, high);
  return {scale, 0};
}

Group Fp8(std::span<const float> w, const Extremes& e, int8_t* codes) {
  const float amax = std::max(std::abs(e.min), std::abs(e.max));
  uint16_t scale = kernels::Fp16FromFloat(amax / 448.0f);
  if (scale == 0) scale = kFp16One;
  const float s = kernels::FloatFromFp16(scale);
  for (size_t i = 0; i < w.size(); ++i) {
    codes[i] = static_cast<int8_t>(kernels::E4m3FromFloat(w[i] / s));
  }
  return {scale, 0};
}

Group Asymmetric(std::span<const float> w, const Extremes& e, int8_t* codes) {
  const float min = std::min(e.min, 0.0f);
  const float max = std::max(e.max, 0.0f);
  uint16_t scale = kernels::Fp16FromFloat((max - min) / 15.0f);
  if (scale == 0) scale = kFp16One;
  const float s = kernels::FloatFromFp16(scale);
  const int zero = Code(-min / s, 0, 0, 15);
  for (size_t i = 0; i < w.size(); ++i) codes[i] = Code(w[i] / s, zero, 0, 15);
  return {scale, zero};
}

Group QuantizeGroup(std::span<const float> w, CodeType type, int8_t* codes) {
  const Extremes e = ExtremesOf(w);
  if (!e.finite) {
    std::fill_n(codes, w.size(), int8_t{0});
    return {kernels::kFp16Nan, 0};
  }
  switch (type) {
    case CodeType::kInt8:
      return Symmetric(w, e, 127.0f, -127, 127, codes);
    case CodeType::kInt4:
      return Symmetric(w, e, 7.5f, -8, 7, codes);
    case CodeType::kUint4:
      return Asymmetric(w, e, codes);
    case CodeType::kE4m3:
      return Fp8(w, e, codes);
    case CodeType::kDense:
      break;
  }
  BATON_CHECK(false && "codes_type is not dense");
  return {};
}

}  // namespace

kernels::WeightView QuantizedMatrix::View() const {
  kernels::WeightView view;
  view.n = n;
  view.k = k;
  view.codes_type = codes_type;
  view.codes = codes.data();
  view.scales = scales.data();
  view.scale_type = kernels::ScalarType::kFp16;
  view.zeros = zeros.empty() ? nullptr : zeros.data();
  view.group = group;
  return view;
}

QuantizedMatrix MakeQuantizedMatrix(int64_t n, int64_t k, int64_t group, CodeType codes_type) {
  BATON_CHECK(n > 0 && k > 0 && group > 0 && k % group == 0);
  QuantizedMatrix matrix{.n = n, .k = k, .group = group, .codes_type = codes_type};
  matrix.codes.resize(static_cast<size_t>(n * k));
  matrix.scales.resize(static_cast<size_t>(n * matrix.groups()));
  if (codes_type == CodeType::kUint4) matrix.zeros.resize(matrix.scales.size());
  return matrix;
}

void ToFloat(const TensorView& source, int64_t first, int64_t count, float* out) {
  BATON_CHECK(source.type == DataType::kF32 || source.type == DataType::kF16 ||
              source.type == DataType::kBf16);
  const ScalarType type = source.type == DataType::kF32   ? ScalarType::kFp32
                          : source.type == DataType::kF16 ? ScalarType::kFp16
                                                          : ScalarType::kBf16;
  kernels::ConvertFloats(source.bytes.data() + first * SizeOf(source.type), type, count,
                         ScalarType::kFp32, out);
}

void RoundToNearest(const TensorView& source, QuantizedMatrix& matrix, int part, int parts) {
  BATON_CHECK(source.shape == (std::vector<int64_t>{matrix.n, matrix.k}));
  std::vector<float> row(static_cast<size_t>(matrix.k));
  const kernels::Range rows = kernels::Partition(matrix.n, part, parts);
  for (int64_t n = rows.begin; n < rows.end; ++n) {
    ToFloat(source, n * matrix.k, matrix.k, row.data());
    for (int64_t g = 0; g < matrix.groups(); ++g) {
      const std::span<const float> values = std::span(row).subspan(
          static_cast<size_t>(g * matrix.group), static_cast<size_t>(matrix.group));
      const Group group = QuantizeGroup(values, matrix.codes_type,
                                        matrix.codes.data() + n * matrix.k + g * matrix.group);
      const auto at = static_cast<size_t>(n * matrix.groups() + g);
      matrix.scales[at] = group.scale;
      if (!matrix.zeros.empty()) matrix.zeros[at] = group.zero;
    }
  }
}

}  // namespace baton
