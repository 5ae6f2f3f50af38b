#include <algorithm>
#include <vector>

#include "common/base/check.h"
#include "common/quant/algorithms/linear_algebra.h"
#include "common/quant/algorithms/nearest.h"
#include "kernels/numeric/partition.h"

namespace baton {
namespace {

// The search for one group of columns over a block of rows.
class GroupClip {
 public:
  GroupClip(const Matrix& weights, const Matrix& hessian, const RangeOptions& options,
            CodedMatrix& coded)
      : weights_(weights), hessian_(hessian), options_(options), coded_(coded) {}

  void Search(kernels::Range rows, int64_t column) {
    rows_ = rows;
    column_ = column;
    width_ = std::min(coded_.group, coded_.cols - column);
    const auto count = static_cast<size_t>(rows.size());
    least_.assign(count, 0);
    grids_.assign(count, Grid{});
    difference_.resize(count * static_cast<size_t>(width_));
    product_.resize(difference_.size());
    for (int step = 0; step <= options_.steps; ++step) Try(step);
    for (size_t i = 0; i < count; ++i) {
      const size_t index = coded_.GridIndex(rows.begin + static_cast<int64_t>(i), column);
      coded_.scales[index] = grids_[i].scale;
      if (!coded_.zeros.empty()) coded_.zeros[index] = grids_[i].zero;
    }
  }

 private:
  void Try(int step) {
    const float shrink =
        1.0f - options_.max_shrink * static_cast<float>(step) / static_cast<float>(options_.steps);
    std::vector<Grid> grids(grids_.size());
    for (size_t i = 0; i < grids.size(); ++i) {
      const std::span<const float> w =
          weights_.Row(rows_.begin + static_cast<int64_t>(i))
              .subspan(static_cast<size_t>(column_), static_cast<size_t>(width_));
      const auto [min, max] = std::minmax_element(w.begin(), w.end());
      grids[i] = MinMaxGrid(*min * shrink, *max * shrink, coded_.spec);
      float* d = difference_.data() + i * w.size();
      for (size_t j = 0; j < w.size(); ++j) d[j] = w[j] - Rounded(w[j], grids[i], coded_.spec);
    }
    Multiply(rows_.size(), width_, width_, 1.0f, {difference_.data(), width_},
             {hessian_.values.data() + column_ * hessian_.cols + column_, hessian_.cols}, 0.0f,
             {product_.data(), width_});
    for (size_t i = 0; i < grids.size(); ++i) {
      const size_t at = i * static_cast<size_t>(width_);
      double error = 0;
      for (size_t j = at; j < at + static_cast<size_t>(width_); ++j) {
        error += difference_[j] * product_[j];
      }
      if (step == 0 || error < least_[i]) {
        least_[i] = error;
        grids_[i] = grids[i];
      }
    }
  }

  const Matrix& weights_;
  const Matrix& hessian_;
  const RangeOptions& options_;
  CodedMatrix& coded_;
  kernels::Range rows_;
  int64_t column_ = 0;
  int64_t width_ = 0;
  std::vector<double> least_;      // of each row
  std::vector<Grid> grids_;        // of each row
  std::vector<float> difference_;  // [rows, width]
  std::vector<float> product_;     // [rows, width]
};

}  // namespace

void FitGridsToOutput(const Matrix& weights, const Matrix& hessian, const RangeOptions& options,
                      const Parallel& parallel, CodedMatrix& coded) {
  BATON_CHECK(coded.block_rows == 1 && hessian.rows == coded.cols && hessian.cols == coded.cols);
  parallel([&](int part, int parts) {
    constexpr int64_t kRows = 64;
    const kernels::Range rows = kernels::Partition(coded.rows, part, parts, kRows);
    GroupClip clip(weights, hessian, options, coded);
    for (int64_t first = rows.begin; first < rows.end; first += kRows) {
      const kernels::Range block{first, std::min(first + kRows, rows.end)};
      for (int64_t column = 0; column < coded.cols; column += coded.group) {
        clip.Search(block, column);
      }
    }
  });
}

}  // namespace baton
