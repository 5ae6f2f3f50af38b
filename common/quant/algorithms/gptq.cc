#include "common/quant/algorithms/gptq.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <utility>

#include "common/base/check.h"
#include "common/base/status.h"
#include "common/quant/algorithms/code_descent.h"
#include "common/quant/algorithms/linear_algebra.h"
#include "kernels/numeric/partition.h"

namespace baton {
namespace {

absl::Status CheckInputs(const Matrix& weights, const Matrix& hessian, const CodeSpec& spec,
                         const GptqOptions& options) {
  BATON_RETURN_IF_ERROR(Validate(spec, weights.cols));
  if (spec.block_rows != 1) {
    return InvalidArgument("block_rows: {}, expected 1 for GPTQ", spec.block_rows);
  }
  if (hessian.rows != weights.cols || hessian.cols != weights.cols) {
    return InvalidArgument("Hessian: {} x {}, expected {} x {}", hessian.rows, hessian.cols,
                           weights.cols, weights.cols);
  }
  if (!(options.damping > 0 && options.damping <= 1)) {
    return InvalidArgument("damping: {}, expected above 0 and up to 1", options.damping);
  }
  if (options.block < 1) return InvalidArgument("block: {}, expected 1 or more", options.block);
  if (options.act_order && !options.static_groups && spec.group != 0) {
    return InvalidArgument("static_groups: false, expected true with act_order");
  }
  if (!options.static_groups && options.range.search == RangeSearch::kOutput) {
    return InvalidArgument(
        "static_groups: false, expected true where ranges are searched by output");
  }
  for (const float w : weights.values) {
    if (!std::isfinite(w)) return InvalidArgument("weights: {}, expected finite values", w);
  }
  return absl::OkStatus();
}

// One matrix on its way through GPTQ.
class Run {
 public:
  Run(const Matrix& weights, const Matrix& hessian, const CodeSpec& spec,
      const GptqOptions& options, const Parallel& parallel)
      : weights_(weights),
        hessian_(hessian),
        spec_(spec),
        options_(options),
        parallel_(parallel),
        order_(static_cast<size_t>(weights.cols)),
        importance_(static_cast<size_t>(weights.cols)) {}

  absl::StatusOr<GptqResult> Finish() {
    Order();
    BATON_RETURN_IF_ERROR(Factorize());
    GptqResult best;
    best.damping = damping_;
    best.coded = MakeCodedMatrix(weights_.rows, weights_.cols, spec_);
    if (options_.range.search == RangeSearch::kOutput) {
      FitGridsToOutput(live_, hessian_, options_.range, parallel_, best.coded);
    } else {
      FitGrids(live_, importance_, options_.range, parallel_, best.coded);
    }
    best.error = Round(best.coded);
    CodedMatrix next = best.coded;
    for (int i = 0; i < options_.refits; ++i) {
      RefitScales(live_, hessian_, parallel_, next);
      const double error = Round(next);
      if (error >= best.error) break;
      best.error = error;
      best.coded = next;
    }
    if (options_.sweeps > 0) {
      DescendCodes(live_, hessian_, options_.sweeps, parallel_, best.coded);
      best.error = ErrorOf(best.coded);
    }
    return best;
  }

 private:
  void Order() {
    live_ = weights_;
    std::iota(order_.begin(), order_.end(), 0);
    for (int64_t j = 0; j < hessian_.cols; ++j) {
      if (hessian_.At(j, j) > 0) continue;
      for (int64_t i = 0; i < live_.rows; ++i) live_.At(i, j) = 0;
    }
    if (!options_.act_order) return;
    std::stable_sort(order_.begin(), order_.end(), [this](int64_t a, int64_t b) {
      return hessian_.At(a, a) > hessian_.At(b, b);
    });
  }

  absl::Status Factorize() {
    const int64_t k = hessian_.cols;
    double mean = 0;
    for (int64_t j = 0; j < k; ++j) mean += hessian_.At(j, j) / static_cast<double>(k);
    if (!(mean > 0) || !std::isfinite(mean)) {
      return FailedPrecondition("Hessian: mean of its diagonal {}, expected a positive number",
                                mean);
    }
    damping_ = options_.damping;
    absl::Status status;
    for (int attempt = 0; attempt < options_.damping_tries; ++attempt, damping_ *= 10) {
      Matrix h(k, k);
      for (int64_t i = 0; i < k; ++i) {
        for (int64_t j = 0; j < k; ++j) h.At(i, j) = hessian_.At(order_[i], order_[j]);
        h.At(i, i) += static_cast<float>(damping_ * mean);
      }
      absl::StatusOr<Matrix> upper = InverseCholesky(h);
      if (upper.ok()) {
        upper_ = *std::move(upper);
        for (int64_t j = 0; j < k; ++j) {
          const float factor = upper_.At(j, j);
          importance_[static_cast<size_t>(order_[j])] = 1.0f / (factor * factor);
        }
        return absl::OkStatus();
      }
      status = upper.status();
    }
    return Annotate(status, "GPTQ: no damping helps");
  }

  // Rounds all columns with the grids of `coded`; returns the error.
  double Round(CodedMatrix& coded) const {
    parallel_([&](int part, int parts) {
      constexpr int64_t kRows = 64;  // what stays in the caches; whole blocks to a part
      const kernels::Range rows = kernels::Partition(coded.rows, part, parts, kRows);
      for (int64_t first = rows.begin; first < rows.end; first += kRows) {
        RoundRows(first, std::min(kRows, rows.end - first), coded);
      }
    });
    return ErrorOf(coded);
  }

  void RoundRows(int64_t first, int64_t count, CodedMatrix& coded) const {
    const int64_t k = coded.cols;
    Matrix work(count, k);
    for (int64_t i = 0; i < count; ++i) {
      for (int64_t j = 0; j < k; ++j) work.At(i, j) = live_.At(first + i, order_[j]);
    }
    Matrix errors(count, options_.block);
    for (int64_t begin = 0; begin < k; begin += options_.block) {
      const int64_t end = std::min(begin + options_.block, k);
      for (int64_t j = begin; j < end; ++j) {
        if (!options_.static_groups && j % coded.group == 0) Refit(first, j, work, coded);
        RoundColumn(first, j, begin, end, work, errors, coded);
      }
      if (end == k) break;
      Multiply(count, k - end, end - begin, -1.0f, {errors.values.data(), errors.cols},
               {upper_.values.data() + begin * k + end, k}, 1.0f, {work.values.data() + end, k});
    }
  }

  void Refit(int64_t first, int64_t column, const Matrix& work, CodedMatrix& coded) const {
    const auto at = static_cast<size_t>(column);
    const auto count = static_cast<size_t>(std::min(coded.group, coded.cols - column));
    for (int64_t i = 0; i < work.rows; ++i) {
      const Grid grid = FitGrid(work.Row(i).subspan(at, count),
                                std::span(importance_).subspan(at, count), spec_, options_.range);
      const size_t index = coded.GridIndex(first + i, column);
      coded.scales[index] = grid.scale;
      if (!coded.zeros.empty()) coded.zeros[index] = grid.zero;
    }
  }

  void RoundColumn(int64_t first, int64_t j, int64_t begin, int64_t end, Matrix& work,
                   Matrix& errors, CodedMatrix& coded) const {
    const int64_t k = coded.cols;
    const int64_t column = order_[static_cast<size_t>(j)];
    const float* factor = upper_.values.data() + j * k;
    for (int64_t i = 0; i < work.rows; ++i) {
      float* row = work.values.data() + i * k;
      const Grid grid = coded.GridAt(first + i, column);
      const int code = Encode(row[j], grid, spec_);
      coded.codes[static_cast<size_t>((first + i) * k + column)] = static_cast<uint8_t>(code);
      const float error = (row[j] - Decode(code, grid, spec_)) / factor[j];
      errors.At(i, j - begin) = error;
      for (int64_t c = j + 1; c < end; ++c) row[c] -= error * factor[c];
    }
  }

  double ErrorOf(const CodedMatrix& coded) const {
    Matrix difference = coded.Values();
    for (size_t i = 0; i < difference.values.size(); ++i) {
      difference.values[i] = live_.values[i] - difference.values[i];
    }
    return QuadraticError(difference, hessian_, parallel_);
  }

  const Matrix& weights_;
  const Matrix& hessian_;
  const CodeSpec& spec_;
  const GptqOptions& options_;
  const Parallel& parallel_;
  Matrix live_;                    // weights, dead columns zero
  std::vector<int64_t> order_;     // of the columns
  std::vector<float> importance_;  // what the squared error of a column costs once the columns
                                   // after it have made up for it
  Matrix upper_;                   // of the damped Hessian in that order
  double damping_ = 0;
};

}  // namespace

absl::StatusOr<GptqResult> Gptq(const Matrix& weights, const Matrix& hessian, const CodeSpec& spec,
                                const GptqOptions& options, const Parallel& parallel) {
  BATON_RETURN_IF_ERROR(CheckInputs(weights, hessian, spec, options));
  return Run(weights, hessian, spec, options, parallel).Finish();
}

}  // namespace baton
