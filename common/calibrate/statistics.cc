#include "common/calibrate/statistics.h"

#include <algorithm>
#include <cmath>

namespace baton {

SampleGatherer::SampleGatherer(int64_t cols, int64_t rows, int64_t sample_rows)
    : stride_(std::max<int64_t>(1, rows / std::max<int64_t>(1, sample_rows))),
      sample_((rows + stride_ - 1) / stride_, cols),
      amax_(static_cast<size_t>(cols)),
      sum_(static_cast<size_t>(cols)),
      sum4_(static_cast<size_t>(cols)) {}

void SampleGatherer::Add(const SeenInputs& inputs) {
  for (int64_t i = 0; i < inputs.rows; ++i, ++seen_) {
    const float* x = inputs.x.data + i * inputs.x.ld;
    for (size_t j = 0; j < amax_.size(); ++j) {
      const float a = std::abs(x[j]);
      amax_[j] = std::max(amax_[j], a);
      sum_[j] += a;
      const double square = static_cast<double>(a) * a;
      sum4_[j] += square * square;
    }
    if (seen_ % stride_ != 0 || taken_ == sample_.rows) continue;
    std::copy(x, x + sample_.cols, sample_.Row(taken_++).begin());
  }
}

InputStatistics SampleGatherer::Statistics() const {
  InputStatistics statistics{amax_, std::vector<float>(sum_.size()),
                             std::vector<float>(sum_.size())};
  const auto tokens = static_cast<double>(std::max<int64_t>(1, seen_));
  for (size_t j = 0; j < sum_.size(); ++j) {
    statistics.mean[j] = static_cast<float>(sum_[j] / tokens);
    statistics.fourth[j] = static_cast<float>(std::pow(sum4_[j] / tokens, 0.25));
  }
  return statistics;
}

}  // namespace baton
