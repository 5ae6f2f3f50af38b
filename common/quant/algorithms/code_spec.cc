#include "common/quant/algorithms/code_spec.h"

#include <algorithm>
#include <cmath>

#include "common/base/check.h"
#include "common/base/status.h"
#include "kernels/numeric/formats.h"

namespace baton {
namespace {

using kernels::ScalarType;

constexpr float kFp8Max = 448.0f;

// Round to nearest, ties to even, for |x| < 2^22: no call into the mathematical library, which the
// searches over grids would spend most of their time in.
float RoundEven(float x) {
  constexpr float kMagic = 12582912.0f;  // 1.5 · 2^23
  return (x + kMagic) - kMagic;
}

}  // namespace

int CodeSpec::low() const {
  if (!symmetric) return 0;
  return bits == 8 ? -127 : -(1 << (bits - 1));
}

int CodeSpec::high() const { return symmetric ? (1 << (bits - 1)) - 1 : (1 << bits) - 1; }

absl::Status Validate(const CodeSpec& spec, int64_t cols) {
  if (spec.kind == CodeKind::kInt && (spec.bits < 2 || spec.bits > 8)) {
    return InvalidArgument("bits: {}, expected 2 to 8", spec.bits);
  }
  if (spec.kind == CodeKind::kFp8 && !spec.symmetric) {
    return InvalidArgument("symmetric: false, expected true for fp8 codes");
  }
  if (spec.group < 0 || spec.group > cols) {
    return InvalidArgument("group: {}, expected 0 to the {} columns", spec.group, cols);
  }
  if (spec.block_rows < 0) {
    return InvalidArgument("block_rows: {}, expected 0 or more", spec.block_rows);
  }
  return absl::OkStatus();
}

int CodedMatrix::Code(int64_t row, int64_t col) const {
  const uint8_t code = codes[static_cast<size_t>(row * cols + col)];
  if (spec.kind == CodeKind::kInt && spec.symmetric) return static_cast<int8_t>(code);
  return code;
}

Matrix CodedMatrix::Values() const {
  Matrix values(rows, cols);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j) values.At(i, j) = Decode(Code(i, j), GridAt(i, j), spec);
  }
  return values;
}

double CodedMatrix::BitsPerWeight() const {
  const double grids = static_cast<double>(scales.size());
  const double per_grid = 8.0 * static_cast<double>(kernels::BytesOf(spec.scale_type)) +
                          (zeros.empty() ? 0 : spec.bits);
  return (spec.kind == CodeKind::kFp8 ? 8 : spec.bits) +
         grids * per_grid / static_cast<double>(rows * cols);
}

CodedMatrix MakeCodedMatrix(int64_t rows, int64_t cols, const CodeSpec& spec) {
  BATON_CHECK(rows > 0 && cols > 0);
  CodedMatrix coded;
  coded.spec = spec;
  coded.rows = rows;
  coded.cols = cols;
  coded.group = spec.group == 0 ? cols : spec.group;
  coded.block_rows = spec.block_rows == 0 ? rows : spec.block_rows;
  coded.codes.resize(static_cast<size_t>(rows * cols));
  const int64_t grids = (rows + coded.block_rows - 1) / coded.block_rows * coded.groups();
  coded.scales.resize(static_cast<size_t>(grids), 1.0f);
  if (!spec.symmetric) coded.zeros.resize(coded.scales.size());
  return coded;
}

float RoundScale(float scale, ScalarType type) {
  switch (type) {
    case ScalarType::kFp16:
      return kernels::FloatFromFp16(kernels::Fp16FromFloat(scale));
    case ScalarType::kBf16:
      return kernels::FloatFromBf16(kernels::Bf16FromFloat(scale));
    case ScalarType::kFp32:
      break;
  }
  return scale;
}

Grid MinMaxGrid(float min, float max, const CodeSpec& spec) {
  const float amax = std::max(std::abs(min), std::abs(max));
  float range = 0;
  if (spec.kind == CodeKind::kFp8) {
    range = amax / kFp8Max;
  } else if (spec.symmetric) {
    const float steps = spec.bits == 8 ? 127.0f : static_cast<float>((1 << spec.bits) - 1) / 2;
    range = amax / steps;
  } else {
    min = std::min(min, 0.0f);
    max = std::max(max, 0.0f);
    range = (max - min) / static_cast<float>(spec.high());
  }
  Grid grid{RoundScale(range, spec.scale_type), 0};
  if (grid.scale == 0) grid.scale = 1;
  if (spec.kind == CodeKind::kInt && !spec.symmetric) {
    const float zero = std::clamp(-min / grid.scale, 0.0f, static_cast<float>(spec.high()));
    grid.zero = static_cast<int>(RoundEven(zero));
  }
  return grid;
}

int Encode(float value, const Grid& grid, const CodeSpec& spec) {
  const float quotient = value / grid.scale;
  if (spec.kind == CodeKind::kFp8) return kernels::E4m3FromFloat(quotient);
  const auto low = static_cast<float>(spec.low() - grid.zero);
  const auto high = static_cast<float>(spec.high() - grid.zero);
  return static_cast<int>(RoundEven(std::clamp(quotient, low, high))) + grid.zero;
}

float Decode(int code, const Grid& grid, const CodeSpec& spec) {
  if (spec.kind == CodeKind::kFp8) {
    return grid.scale * kernels::FloatFromE4m3(static_cast<uint8_t>(code));
  }
  return grid.scale * static_cast<float>(code - grid.zero);
}

}  // namespace baton
