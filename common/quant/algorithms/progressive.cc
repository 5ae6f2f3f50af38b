#include "common/quant/algorithms/progressive.h"

#include <algorithm>
#include <cmath>

#include "common/base/status.h"
#include "kernels/numeric/formats.h"
#include "kernels/numeric/partition.h"

namespace baton {
namespace {

// So that a code rounded up by half a group step (≤ 17 / 2) stays within an INT8.
constexpr float kProtective = 119.0f;

// Second level of one group: INT8 codes between `low` and `high` in 16 steps.
void CodeGroup(const float* codes8, int64_t count, uint8_t* codes, uint8_t& scale, uint8_t& zero) {
  float low = 0;
  float high = 0;
  for (int64_t j = 0; j < count; ++j) {
    low = std::min(low, codes8[j]);
    high = std::max(high, codes8[j]);
  }
  const float step = std::max(1.0f, std::nearbyint((high - low) / 15.0f));
  const float at = std::clamp(std::nearbyint(-low / step), 0.0f, 15.0f);
  scale = static_cast<uint8_t>(step);
  zero = static_cast<uint8_t>(at);
  // The ends of an INT8 limit the codes where a step would leave it.
  const float lowest = std::max(0.0f, at - std::floor(127.0f / step));
  const float highest = std::min(15.0f, at + std::floor(127.0f / step));
  for (int64_t j = 0; j < count; ++j) {
    codes[j] =
        static_cast<uint8_t>(std::clamp(std::nearbyint(codes8[j] / step) + at, lowest, highest));
  }
}

}  // namespace

int ProgressiveMatrix::Code8(int64_t row, int64_t col) const {
  const auto g = static_cast<size_t>(row * (cols / group) + col / group);
  return group_scales[g] * (codes[static_cast<size_t>(row * cols + col)] - group_zeros[g]);
}

Matrix ProgressiveMatrix::Values() const {
  Matrix values(rows, cols);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j) {
      values.At(i, j) = channel_scales[static_cast<size_t>(i)] * static_cast<float>(Code8(i, j));
    }
  }
  return values;
}

absl::StatusOr<ProgressiveMatrix> QuantizeProgressive(const Matrix& weights, int64_t group,
                                                      const Parallel& parallel) {
  if (group < 1 || weights.cols % group != 0) {
    return InvalidArgument("group: {}, expected a divisor of the {} columns", group, weights.cols);
  }
  ProgressiveMatrix out{weights.rows, weights.cols, group, {}, {}, {}, {}};
  out.codes.resize(weights.values.size());
  out.group_scales.resize(weights.values.size() / static_cast<size_t>(group));
  out.group_zeros.resize(out.group_scales.size());
  out.channel_scales.resize(static_cast<size_t>(weights.rows));
  const int64_t groups = weights.cols / group;
  parallel([&](int part, int parts) {
    const kernels::Range rows = kernels::Partition(weights.rows, part, parts);
    std::vector<float> codes8(static_cast<size_t>(weights.cols));
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      float amax = 0;
      for (const float w : weights.Row(i)) amax = std::max(amax, std::abs(w));
      float scale = kernels::FloatFromFp16(kernels::Fp16FromFloat(amax / kProtective));
      if (scale == 0) scale = 1;
      out.channel_scales[static_cast<size_t>(i)] = scale;
      for (size_t j = 0; j < codes8.size(); ++j) {
        codes8[j] =
            std::clamp(std::nearbyint(weights.Row(i)[j] / scale), -kProtective, kProtective);
      }
      for (int64_t g = 0; g < groups; ++g) {
        const auto at = static_cast<size_t>(i * groups + g);
        CodeGroup(codes8.data() + g * group, group, out.codes.data() + i * weights.cols + g * group,
                  out.group_scales[at], out.group_zeros[at]);
      }
    }
  });
  return out;
}

CodedMatrix Flat(const ProgressiveMatrix& matrix) {
  CodedMatrix coded = MakeCodedMatrix(matrix.rows, matrix.cols,
                                      {.bits = 4,
                                       .symmetric = false,
                                       .group = matrix.group,
                                       .scale_type = kernels::ScalarType::kFp32});
  coded.codes = matrix.codes;
  const int64_t groups = matrix.cols / matrix.group;
  for (size_t i = 0; i < coded.scales.size(); ++i) {
    // An fp16 number times an integer up to 17: exact in fp32.
    coded.scales[i] = matrix.channel_scales[i / static_cast<size_t>(groups)] *
                      static_cast<float>(matrix.group_scales[i]);
    coded.zeros[i] = matrix.group_zeros[i];
  }
  return coded;
}

}  // namespace baton
