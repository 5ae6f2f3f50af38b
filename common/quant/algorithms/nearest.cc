#include "common/quant/algorithms/nearest.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/base/check.h"
#include "kernels/numeric/partition.h"

namespace baton {
namespace {

struct Extremes {
  float min = std::numeric_limits<float>::infinity();
  float max = -std::numeric_limits<float>::infinity();
  void Add(std::span<const float> values) {
    for (const float x : values) {
      min = std::min(min, x);
      max = std::max(max, x);
    }
  }
};

double ErrorOf(std::span<const float> weights, std::span<const float> importance, const Grid& grid,
               const CodeSpec& spec, float norm) {
  double sum = 0;
  for (size_t i = 0; i < weights.size(); ++i) {
    const float d = std::abs(weights[i] - Rounded(weights[i], grid, spec));
    const float error = norm == 2.0f ? d * d : std::pow(d, norm);
    sum += importance.empty() ? error : error * importance[i];
  }
  return sum;
}

// The best of the grids for shrunken ranges; never worse than the full range.
template <typename Error>
Grid Search(const Extremes& e, const CodeSpec& spec, const RangeOptions& options, Error&& error) {
  Grid best = MinMaxGrid(e.min, e.max, spec);
  if (options.search == RangeSearch::kMinMax) return best;
  double least = error(best);
  for (int i = 1; i <= options.steps; ++i) {
    const float p =
        1.0f - options.max_shrink * static_cast<float>(i) / static_cast<float>(options.steps);
    const Grid grid = MinMaxGrid(e.min * p, e.max * p, spec);
    const double loss = error(grid);
    if (loss < least) {
      least = loss;
      best = grid;
    }
  }
  return best;
}

}  // namespace

Grid FitGrid(std::span<const float> weights, std::span<const float> importance,
             const CodeSpec& spec, const RangeOptions& options) {
  Extremes e;
  e.Add(weights);
  return Search(e, spec, options, [&](const Grid& grid) {
    return ErrorOf(weights, importance, grid, spec, options.norm);
  });
}

void FitGrids(const Matrix& weights, std::span<const float> importance, const RangeOptions& options,
              const Parallel& parallel, CodedMatrix& coded) {
  BATON_CHECK(weights.rows == coded.rows && weights.cols == coded.cols);
  BATON_CHECK(importance.empty() || static_cast<int64_t>(importance.size()) == weights.cols);
  const int64_t blocks = (coded.rows + coded.block_rows - 1) / coded.block_rows;
  parallel([&](int part, int parts) {
    const kernels::Range share = kernels::Partition(blocks, part, parts);
    for (int64_t block = share.begin; block < share.end; ++block) {
      const int64_t first = block * coded.block_rows;
      const int64_t end = std::min(first + coded.block_rows, coded.rows);
      for (int64_t col = 0; col < coded.cols; col += coded.group) {
        const auto at = static_cast<size_t>(col);
        const auto count = static_cast<size_t>(std::min(coded.group, coded.cols - col));
        const std::span<const float> weigh =
            importance.empty() ? importance : importance.subspan(at, count);
        Extremes e;
        for (int64_t row = first; row < end; ++row) e.Add(weights.Row(row).subspan(at, count));
        const Grid grid = Search(e, coded.spec, options, [&](const Grid& g) {
          double sum = 0;
          for (int64_t row = first; row < end; ++row) {
            sum += ErrorOf(weights.Row(row).subspan(at, count), weigh, g, coded.spec, options.norm);
          }
          return sum;
        });
        const size_t index = coded.GridIndex(first, col);
        coded.scales[index] = grid.scale;
        if (!coded.zeros.empty()) coded.zeros[index] = grid.zero;
      }
    }
  });
}

void EncodeNearest(const Matrix& weights, const Parallel& parallel, CodedMatrix& coded) {
  parallel([&](int part, int parts) {
    const kernels::Range rows = kernels::Partition(coded.rows, part, parts);
    for (int64_t i = rows.begin; i < rows.end; ++i) {
      for (int64_t j = 0; j < coded.cols; ++j) {
        coded.codes[static_cast<size_t>(i * coded.cols + j)] =
            static_cast<uint8_t>(Encode(weights.At(i, j), coded.GridAt(i, j), coded.spec));
      }
    }
  });
}

CodedMatrix RoundToNearest(const Matrix& weights, const CodeSpec& spec, const RangeOptions& options,
                           std::span<const float> importance, const Parallel& parallel) {
  CodedMatrix coded = MakeCodedMatrix(weights.rows, weights.cols, spec);
  FitGrids(weights, importance, options, parallel, coded);
  EncodeNearest(weights, parallel, coded);
  return coded;
}

void RoundTokens(std::span<float> x, int64_t cols, CodeKind kind) {
  const CodeSpec spec{.kind = kind, .bits = 8, .scale_type = kernels::ScalarType::kFp32};
  for (size_t at = 0; at < x.size(); at += static_cast<size_t>(cols)) {
    const std::span<float> row = x.subspan(at, static_cast<size_t>(cols));
    Extremes e;
    e.Add(row);
    const Grid grid = MinMaxGrid(e.min, e.max, spec);
    for (float& value : row) value = Rounded(value, grid, spec);
  }
}

}  // namespace baton
