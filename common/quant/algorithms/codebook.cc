#include "common/quant/algorithms/codebook.h"

#include <algorithm>
#include <cmath>

#include "common/base/status.h"

namespace baton {
namespace {

uint8_t Nearest(float x) {
  uint8_t code = 0;
  while (code < 15 && x > (kNormalFloat4[code] + kNormalFloat4[code + 1]) / 2) ++code;
  return code;
}

}  // namespace

Matrix NormalFloatMatrix::Values() const {
  Matrix values(rows, cols);
  for (size_t i = 0; i < codes.size(); ++i) {
    values.values[i] = amax[i / static_cast<size_t>(block)] * kNormalFloat4[codes[i]];
  }
  return values;
}

absl::StatusOr<NormalFloatMatrix> QuantizeNormalFloat(const Matrix& weights, int64_t block) {
  if (block < 1) return InvalidArgument("block: {}, expected 1 or more", block);
  NormalFloatMatrix out{weights.rows, weights.cols, block, {}, {}};
  out.codes.resize(weights.values.size());
  const auto size = static_cast<size_t>(block);
  for (size_t first = 0; first < weights.values.size(); first += size) {
    const size_t end = std::min(first + size, weights.values.size());
    float amax = 0;
    for (size_t i = first; i < end; ++i) amax = std::max(amax, std::abs(weights.values[i]));
    if (!std::isfinite(amax)) return InvalidArgument("weights: {}, expected finite values", amax);
    out.amax.push_back(amax);
    for (size_t i = first; i < end; ++i) {
      out.codes[i] = amax > 0 ? Nearest(weights.values[i] / amax) : uint8_t{7};
    }
  }
  return out;
}

}  // namespace baton
