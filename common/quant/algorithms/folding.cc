#include "common/quant/algorithms/folding.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <optional>
#include <string_view>

#include "common/base/check.h"
#include "common/quant/algorithms/linear_algebra.h"
#include "kernels/numeric/partition.h"

namespace baton {
namespace {

constexpr float kLeast = 1e-5f;

enum class Statistic { kAmax, kMean, kRms };

// Per column over all rows of all the weights.
std::vector<float> ColumnStatistic(Statistic statistic, std::span<const Matrix* const> weights) {
  std::vector<float> values(static_cast<size_t>(weights.front()->cols));
  int64_t rows = 0;
  for (const Matrix* w : weights) {
    rows += w->rows;
    for (int64_t i = 0; i < w->rows; ++i) {
      for (size_t j = 0; j < values.size(); ++j) {
        const float a = std::abs(w->Row(i)[j]);
        values[j] = statistic == Statistic::kAmax   ? std::max(values[j], a)
                    : statistic == Statistic::kMean ? values[j] + a
                                                    : values[j] + a * a;
      }
    }
  }
  if (statistic == Statistic::kAmax) return values;
  for (float& value : values) {
    value /= static_cast<float>(rows);
    if (statistic == Statistic::kRms) value = std::sqrt(value);
  }
  return values;
}

struct RuleRow {
  std::string_view name;
  std::vector<float> InputStatistics::*inputs;
  std::optional<Statistic> weights;  // none: the inputs alone decide
};

const RuleRow& RowOf(FoldRule rule) {
  static constexpr std::array<RuleRow, 4> kRows = {{
      {"smoothquant", &InputStatistics::amax, Statistic::kAmax},
      {"fourth-moment", &InputStatistics::fourth, Statistic::kRms},
      {"awq", &InputStatistics::mean, std::nullopt},
      {"awq-duo", &InputStatistics::mean, Statistic::kMean},
  }};
  return kRows[static_cast<size_t>(rule)];
}

void Normalize(std::vector<float>& factors) {
  const auto [min, max] = std::minmax_element(factors.begin(), factors.end());
  const float middle = std::sqrt(*min) * std::sqrt(*max);
  for (float& f : factors) f /= middle;
}

// The sum of squared differences between reference and x · wᵀ.
double OutputError(const Matrix& reference, const Matrix& x, const Matrix& w,
                   const Parallel& parallel) {
  constexpr int64_t kRows = 64;  // fixed: the sum does not depend on the parts
  const int64_t blocks = (x.rows + kRows - 1) / kRows;
  std::vector<double> sums(static_cast<size_t>(blocks));
  parallel([&](int part, int parts) {
    const kernels::Range share = kernels::Partition(blocks, part, parts);
    std::vector<float> out(static_cast<size_t>(kRows * w.rows));
    for (int64_t block = share.begin; block < share.end; ++block) {
      const int64_t first = block * kRows;
      const int64_t rows = std::min(kRows, x.rows - first);
      MultiplyTransposed(rows, w.rows, x.cols, 1.0f, {x.Row(first).data(), x.cols},
                         {w.values.data(), w.cols}, 0.0f, {out.data(), w.rows});
      const float* expected = reference.Row(first).data();
      double sum = 0;
      for (int64_t i = 0; i < rows * w.rows; ++i) {
        const float d = out[static_cast<size_t>(i)] - expected[i];
        sum += d * d;
      }
      sums[static_cast<size_t>(block)] = sum;
    }
  });
  double total = 0;
  for (const double sum : sums) total += sum;
  return total;
}

class Judge {
 public:
  Judge(const FoldSearch& search, const Matrix& x, std::span<const Matrix* const> weights,
        const Parallel& parallel)
      : search_(search), x_(x), weights_(weights), parallel_(parallel) {
    for (const Matrix* w : weights) {
      Matrix& out = references_.emplace_back(x.rows, w->rows);
      parallel([&](int part, int parts) {
        const kernels::Range rows = kernels::Partition(x.rows, part, parts);
        if (rows.empty()) return;
        MultiplyTransposed(rows.size(), w->rows, x.cols, 1.0f, {x.Row(rows.begin).data(), x.cols},
                           {w->values.data(), w->cols}, 0.0f,
                           {out.Row(rows.begin).data(), w->rows});
      });
    }
  }

  double Error(const std::vector<float>& factors) const {
    Matrix x = x_;
    parallel_([&](int part, int parts) {
      const kernels::Range rows = kernels::Partition(x.rows, part, parts);
      for (int64_t i = rows.begin; i < rows.end; ++i) {
        std::span<float> row = x.Row(i);
        for (size_t j = 0; j < factors.size(); ++j) row[j] /= factors[j];
        if (search_.activations) RoundTokens(row, x.cols, *search_.activations);
      }
    });
    double sum = 0;
    for (size_t i = 0; i < weights_.size(); ++i) {
      Matrix scaled = *weights_[i];
      ScaleColumns(factors, scaled);
      const Matrix rounded =
          RoundToNearest(scaled, search_.spec, search_.range, {}, parallel_).Values();
      sum += OutputError(references_[i], x, rounded, parallel_);
    }
    return sum;
  }

  double Outputs() const {
    double count = 0;
    for (const Matrix& out : references_) count += static_cast<double>(out.values.size());
    return count;
  }

 private:
  const FoldSearch& search_;
  const Matrix& x_;
  const std::span<const Matrix* const> weights_;
  const Parallel& parallel_;
  std::vector<Matrix> references_;  // X Wᵀ of each weight
};

}  // namespace

void ScaleColumns(std::span<const float> factors, Matrix& weights) {
  BATON_CHECK(static_cast<int64_t>(factors.size()) == weights.cols);
  for (int64_t i = 0; i < weights.rows; ++i) {
    for (size_t j = 0; j < factors.size(); ++j) weights.Row(i)[j] *= factors[j];
  }
}

void DivideRows(std::span<const float> factors, Matrix& weights, std::span<float> bias) {
  BATON_CHECK(static_cast<int64_t>(factors.size()) == weights.rows);
  for (int64_t i = 0; i < weights.rows; ++i) {
    const float factor = factors[static_cast<size_t>(i)];
    for (float& w : weights.Row(i)) w /= factor;
    if (!bias.empty()) bias[static_cast<size_t>(i)] /= factor;
  }
}

void DivideNorm(kernels::ScalarType stored, std::vector<float>& norm, std::vector<float>& factors) {
  BATON_CHECK(norm.size() == factors.size());
  for (size_t j = 0; j < norm.size(); ++j) {
    const float divided = RoundScale(norm[j] / factors[j], stored);
    if (divided == 0 || !std::isfinite(divided)) {
      factors[j] = 1;  // a channel that is switched off, or would leave the type's range
      continue;
    }
    factors[j] = norm[j] / divided;
    norm[j] = divided;
  }
}

std::string_view NameOf(FoldRule rule) { return RowOf(rule).name; }

std::vector<float> FoldFactors(FoldRule rule, float alpha, const InputStatistics& inputs,
                               std::span<const Matrix* const> weights) {
  const RuleRow& row = RowOf(rule);
  const std::vector<float>& x = inputs.*row.inputs;
  std::vector<float> w;
  if (row.weights) w = ColumnStatistic(*row.weights, weights);
  std::vector<float> factors(x.size(), 1.0f);
  for (size_t j = 0; j < x.size(); ++j) {
    if (!(x[j] > 0) || (!w.empty() && !(w[j] > 0))) continue;  // nothing to move
    factors[j] = std::pow(std::max(x[j], kLeast), alpha);
    if (!w.empty()) factors[j] /= std::pow(std::max(w[j], kLeast), 1.0f - alpha);
    factors[j] = std::max(factors[j], kLeast);
  }
  Normalize(factors);
  return factors;
}

FoldChoice SearchFactors(const FoldSearch& search, const Matrix& x, const InputStatistics& inputs,
                         std::span<const Matrix* const> weights, const Parallel& parallel) {
  BATON_CHECK(!weights.empty() && x.rows > 0);
  std::vector<float> alphas = search.alphas;
  for (int i = 0; search.alphas.empty() && i < 20; ++i) {
    alphas.push_back(static_cast<float>(i) / 20.0f);
  }
  const Judge judge(search, x, weights, parallel);
  FoldChoice best;
  best.factors.assign(static_cast<size_t>(x.cols), 1.0f);
  best.plain = best.error = judge.Error(best.factors);
  for (const FoldRule rule : search.rules) {
    for (const float alpha : alphas) {
      std::vector<float> factors = FoldFactors(rule, alpha, inputs, weights);
      const double error = judge.Error(factors);
      const bool first = best.identity && !search.or_none;
      if (!first && !(error < best.error)) continue;
      best.factors = std::move(factors);
      best.rule = rule;
      best.alpha = alpha;
      best.identity = false;
      best.error = error;
    }
  }
  best.error /= judge.Outputs();
  best.plain /= judge.Outputs();
  return best;
}

}  // namespace baton
