#include "common/quant/algorithms/observers.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "common/base/status.h"

namespace baton {
namespace {

// Bins of a histogram merged to `levels` steps of equal width and spread again over the bins of a
// step that are not empty; what lies above the last bin was added to it before. KL(seen ‖ coded).
double Divergence(std::span<const double> counts, double beyond, int levels) {
  const size_t bins = counts.size();
  std::vector<double> seen(counts.begin(), counts.end());
  seen.back() += beyond;
  std::vector<double> coded(bins);
  const double width = static_cast<double>(bins) / levels;
  for (int level = 0; level < levels; ++level) {
    const auto begin = static_cast<size_t>(std::lround(level * width));
    const auto end = std::min(bins, static_cast<size_t>(std::lround((level + 1) * width)));
    double sum = 0;
    double filled = 0;
    for (size_t i = begin; i < end; ++i) {
      sum += counts[i];
      filled += counts[i] > 0 ? 1 : 0;
    }
    for (size_t i = begin; i < end && filled > 0; ++i) {
      if (counts[i] > 0) coded[i] = sum / filled;
    }
  }
  double seen_total = 0;
  double coded_total = 0;
  for (size_t i = 0; i < bins; ++i) {
    seen_total += seen[i];
    coded_total += coded[i];
  }
  if (coded_total == 0) return std::numeric_limits<double>::infinity();
  double sum = 0;
  for (size_t i = 0; i < bins; ++i) {
    if (seen[i] == 0) continue;
    const double p = seen[i] / seen_total;
    // An empty bin that had values: a small share instead of an infinite divergence.
    const double q = std::max(coded[i] / coded_total, 1e-9);
    sum += p * std::log(p / q);
  }
  return sum;
}

}  // namespace

absl::StatusOr<Observer> Observer::Create(const ObserverOptions& options) {
  if (!(options.averaging > 0 && options.averaging <= 1)) {
    return InvalidArgument("averaging: {}, expected above 0 and up to 1", options.averaging);
  }
  if (!(options.percentile > 0 && options.percentile <= 1)) {
    return InvalidArgument("percentile: {}, expected above 0 and up to 1", options.percentile);
  }
  if (options.levels < 1 || options.levels > kBins) {
    return InvalidArgument("levels: {}, expected 1 to {}", options.levels, kBins);
  }
  return Observer(options);
}

bool Observer::histogram() const {
  return options_.kind == ObserverKind::kPercentile || options_.kind == ObserverKind::kEntropy ||
         options_.kind == ObserverKind::kError;
}

absl::Status Observer::Add(std::span<const float> values) {
  if (values.empty()) return absl::OkStatus();
  Range batch;
  for (const float x : values) {
    if (!std::isfinite(x)) return InvalidArgument("activation: {}, expected finite values", x);
    batch.min = std::min(batch.min, x);
    batch.max = std::max(batch.max, x);
  }
  if (options_.kind == ObserverKind::kMovingAverage && batches_ > 0) {
    range_.min += options_.averaging * (batch.min - range_.min);
    range_.max += options_.averaging * (batch.max - range_.max);
  } else {
    range_.min = std::min(range_.min, batch.min);
    range_.max = std::max(range_.max, batch.max);
  }
  if (histogram()) AddToHistogram(values, std::max(-batch.min, batch.max));
  ++batches_;
  return absl::OkStatus();
}

void Observer::AddToHistogram(std::span<const float> values, float amax) {
  if (counts_.empty()) counts_.resize(kBins);
  if (bin_width_ == 0 && amax > 0) bin_width_ = amax / kBins;
  while (bin_width_ > 0 && amax > bin_width_ * kBins) {
    for (size_t i = 0; i < kBins / 2; ++i) counts_[i] = counts_[2 * i] + counts_[2 * i + 1];
    std::fill(counts_.begin() + kBins / 2, counts_.end(), 0.0);
    bin_width_ *= 2;
  }
  for (const float x : values) {
    const float at = bin_width_ > 0 ? std::abs(x) / bin_width_ : 0.0f;
    counts_[std::min<size_t>(static_cast<size_t>(at), kBins - 1)] += 1;
  }
}

absl::StatusOr<Observer::Range> Observer::Finish() const {
  if (batches_ == 0) return FailedPrecondition("observer: no values seen, expected some");
  if (!histogram()) return range_;
  const float covered = std::max(-range_.min, range_.max);
  float limit = 0;
  switch (options_.kind) {
    case ObserverKind::kPercentile:
      limit = PercentileRange();
      break;
    case ObserverKind::kEntropy:
      limit = EntropyRange();
      break;
    case ObserverKind::kError:
      limit = ErrorRange();
      break;
    case ObserverKind::kMinMax:
    case ObserverKind::kMovingAverage:
      break;
  }
  limit = std::min(limit, covered);
  return Range{-limit, limit};
}

float Observer::PercentileRange() const {
  double total = 0;
  for (const double count : counts_) total += count;
  double below = 0;
  for (size_t i = 0; i < counts_.size(); ++i) {
    below += counts_[i];
    if (below >= options_.percentile * total) return bin_width_ * static_cast<float>(i + 1);
  }
  return bin_width_ * kBins;
}

float Observer::EntropyRange() const {
  double least = std::numeric_limits<double>::infinity();
  size_t best = kBins;
  double beyond = 0;
  for (size_t bins = kBins; bins >= static_cast<size_t>(options_.levels); --bins) {
    const double divergence = Divergence(std::span(counts_).first(bins), beyond, options_.levels);
    if (divergence < least) {
      least = divergence;
      best = bins;
    }
    beyond += counts_[bins - 1];
  }
  return bin_width_ * static_cast<float>(best);
}

float Observer::ErrorRange() const {
  constexpr int kSteps = 200;
  const float full = bin_width_ * kBins;
  float best = full;
  double least = std::numeric_limits<double>::infinity();
  for (int step = kSteps; step >= 1; --step) {
    const float limit = full * static_cast<float>(step) / kSteps;
    const float scale = limit / static_cast<float>(options_.levels);
    double sum = 0;
    for (size_t i = 0; i < counts_.size(); ++i) {
      if (counts_[i] == 0) continue;
      const float x = bin_width_ * (static_cast<float>(i) + 0.5f);
      const float d =
          x - scale * std::min(std::nearbyint(x / scale), static_cast<float>(options_.levels));
      sum += counts_[i] * d * d;
    }
    if (sum < least) {
      least = sum;
      best = limit;
    }
  }
  return best;
}

}  // namespace baton
