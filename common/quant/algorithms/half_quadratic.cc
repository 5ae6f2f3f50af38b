#include "common/quant/algorithms/half_quadratic.h"

#include <algorithm>
#include <cmath>
#include <span>

#include "common/base/status.h"
#include "common/quant/algorithms/nearest.h"
#include "kernels/numeric/partition.h"

namespace baton {
namespace {

struct Fit {
  float scale = 1;
  float zero = 0;
};

float CodeOf(float w, const Fit& fit, float top) {
  return std::clamp(std::nearbyint(w / fit.scale + fit.zero), 0.0f, top);
}

float MeanError(std::span<const float> w, const Fit& fit, float top) {
  float sum = 0;
  for (const float x : w) sum += std::abs(x - (CodeOf(x, fit, top) - fit.zero) * fit.scale);
  return sum / static_cast<float>(w.size());
}

// The proximal operator of the p-norm: generalized soft thresholding.
float Shrink(float d, float norm, float beta) {
  const float a = std::abs(d);
  if (a == 0) return 0;
  return std::copysign(std::max(a - std::pow(a, norm - 1) / beta, 0.0f), d);
}

Fit FitGroup(std::span<const float> w, const HalfQuadraticOptions& options) {
  const auto top = static_cast<float>((1 << options.bits) - 1);
  const auto [min, max] = std::minmax_element(w.begin(), w.end());
  Fit fit;
  fit.scale = (*max - *min) / top;
  if (!(fit.scale > 0)) {
    // All values are one: code 0 and a zero point that gives it exactly.
    fit.scale = 1;
    fit.zero = -*min;
    return fit;
  }
  fit.zero = -*min / fit.scale;
  Fit best = fit;
  float least = MeanError(w, fit, top);
  float beta = options.beta;
  for (int i = 0; i < options.iterations; ++i, beta *= options.kappa) {
    float sum = 0;
    for (const float x : w) {
      const float code = CodeOf(x, fit, top);
      const float rest = Shrink(x - (code - fit.zero) * fit.scale, options.norm, beta);
      sum += code - (x - rest) / fit.scale;
    }
    fit.zero = sum / static_cast<float>(w.size());
    const float error = MeanError(w, fit, top);
    if (!(error < least)) break;
    least = error;
    best = fit;
  }
  return best;
}

}  // namespace

Matrix HalfQuadraticMatrix::Values() const {
  Matrix values(rows, cols);
  for (int64_t i = 0; i < rows; ++i) {
    for (int64_t j = 0; j < cols; ++j) {
      const auto at = static_cast<size_t>(i * (cols / group) + j / group);
      values.At(i, j) =
          (static_cast<float>(codes[static_cast<size_t>(i * cols + j)]) - zeros[at]) * scales[at];
    }
  }
  return values;
}

absl::StatusOr<HalfQuadraticMatrix> QuantizeHalfQuadratic(const Matrix& weights,
                                                          const HalfQuadraticOptions& options,
                                                          const Parallel& parallel) {
  if (options.bits < 2 || options.bits > 8) {
    return InvalidArgument("bits: {}, expected 2 to 8", options.bits);
  }
  if (options.group < 1 || weights.cols % options.group != 0) {
    return InvalidArgument("group: {}, expected a divisor of the {} columns", options.group,
                           weights.cols);
  }
  if (!(options.norm > 0 && options.norm <= 1)) {
    return InvalidArgument("norm: {}, expected above 0 and up to 1", options.norm);
  }
  HalfQuadraticMatrix out{weights.rows, weights.cols, options.group, options.bits, {}, {}, {}};
  const int64_t groups = weights.cols / options.group;
  out.codes.resize(weights.values.size());
  out.scales.resize(static_cast<size_t>(weights.rows * groups));
  out.zeros.resize(out.scales.size());
  const auto top = static_cast<float>((1 << options.bits) - 1);
  parallel([&](int part, int parts) {
    const kernels::Range rows = kernels::Partition(weights.rows, part, parts);
    for (int64_t i = rows.begin * groups; i < rows.end * groups; ++i) {
      const auto first = static_cast<size_t>(i * options.group);
      const std::span<const float> w =
          std::span(weights.values).subspan(first, static_cast<size_t>(options.group));
      const Fit fit = FitGroup(w, options);
      out.scales[static_cast<size_t>(i)] = fit.scale;
      out.zeros[static_cast<size_t>(i)] = fit.zero;
      for (size_t j = 0; j < w.size(); ++j) {
        out.codes[first + j] = static_cast<uint8_t>(CodeOf(w[j], fit, top));
      }
    }
  });
  return out;
}

CodedMatrix Integral(const HalfQuadraticMatrix& matrix, const Matrix& weights,
                     kernels::ScalarType scale_type, const Parallel& parallel) {
  CodedMatrix coded = MakeCodedMatrix(
      matrix.rows, matrix.cols,
      {.bits = matrix.bits, .symmetric = false, .group = matrix.group, .scale_type = scale_type});
  for (size_t i = 0; i < coded.scales.size(); ++i) {
    const float scale = RoundScale(matrix.scales[i], scale_type);
    coded.scales[i] = scale > 0 ? scale : 1.0f;
    // The zero point belongs to the scale that it was found with.
    const float zero = matrix.zeros[i] * matrix.scales[i] / coded.scales[i];
    coded.zeros[i] = static_cast<int32_t>(
        std::clamp(std::nearbyint(zero), 0.0f, static_cast<float>(coded.spec.high())));
  }
  EncodeNearest(weights, parallel, coded);
  return coded;
}

}  // namespace baton
