#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/quant/algorithms/code_spec.h"

namespace baton {

// Calibration of a static activation scale: an observer sees batches of values and ends with the
// range that codes should cover. (Dynamic scales need none: RoundTokens in nearest.h.)
enum class ObserverKind {
  kMinMax,         // the extremes ever seen
  kMovingAverage,  // of each batch's extremes: new = old + c · (batch − old)
  kPercentile,     // the share `percentile` of all magnitudes lies within
  kEntropy,        // least KL divergence of the coded histogram from the seen one
  kError,          // least mean squared error of the coded histogram
};

struct ObserverOptions {
  ObserverKind kind = ObserverKind::kMinMax;
  float averaging = 0.01f;     // kMovingAverage: c, in (0, 1]
  double percentile = 0.9999;  // kPercentile, in (0, 1]
  // Levels of a code's magnitude: 127 for INT8. kEntropy and kError.
  int levels = 127;
};

// Collects one tensor's values. kPercentile, kEntropy and kError keep a histogram of magnitudes of
// kBins bins that doubles its width when a value lies beyond it. Not finite values are refused.
class Observer {
 public:
  static constexpr int kBins = 2048;

  // INVALID_ARGUMENT for an option out of range.
  static absl::StatusOr<Observer> Create(const ObserverOptions& options);

  // One batch. INVALID_ARGUMENT when a value is not finite.
  absl::Status Add(std::span<const float> values);

  // The extremes to cover: min ≤ 0 ≤ max; symmetric for the histogram kinds. FAILED_PRECONDITION
  // when nothing was seen.
  struct Range {
    float min = 0;
    float max = 0;
  };
  absl::StatusOr<Range> Finish() const;

 private:
  explicit Observer(const ObserverOptions& options) : options_(options) {}

  bool histogram() const;
  void AddToHistogram(std::span<const float> values, float amax);
  float PercentileRange() const;
  float EntropyRange() const;
  float ErrorRange() const;

  ObserverOptions options_;
  int64_t batches_ = 0;
  Range range_;
  float bin_width_ = 0;         // of magnitudes
  std::vector<double> counts_;  // [kBins]
};

// The grid of a static activation scale in `spec`'s codes.
inline Grid GridOf(const Observer::Range& range, const CodeSpec& spec) {
  return MinMaxGrid(range.min, range.max, spec);
}

}  // namespace baton
