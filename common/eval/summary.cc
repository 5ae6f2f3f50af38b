#include "common/eval/summary.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

namespace baton {

PairSummary Summarize(const PairScores& scores, const PairScores& reference) {
  return {.perplexity = Perplexity(scores.window_nll),
          .increase = PerplexityIncrease(scores.window_nll, reference.window_nll),
          .kl = MeanInterval(scores.window_kl),
          .agreement = MeanInterval(scores.window_agreement)};
}

std::vector<PositionBucket> BucketPositions(const PairScores& scores, const PairScores& reference,
                                            int buckets) {
  const auto positions = static_cast<int>(scores.nll_by_position.size());
  const int count = std::min(buckets, positions);
  std::vector<PositionBucket> result;
  for (int b = 0; b < count; ++b) {
    PositionBucket bucket{.first = positions * b / count, .end = positions * (b + 1) / count};
    const double length = bucket.end - bucket.first;
    double difference = 0;
    for (int i = bucket.first; i < bucket.end; ++i) {
      const auto at = static_cast<size_t>(i);
      difference += (scores.nll_by_position[at] - reference.nll_by_position[at]) / length;
      bucket.kl += scores.kl_by_position[at] / length;
      bucket.agreement += scores.agreement_by_position[at] / length;
    }
    bucket.increase = std::expm1(difference);
    result.push_back(bucket);
  }
  return result;
}

GreedySummary SummarizeGreedy(const PairScores& scores, int tokens) {
  std::vector<int> sorted = scores.first_difference;
  GreedySummary summary{.tokens = tokens};
  if (sorted.empty()) return summary;
  std::sort(sorted.begin(), sorted.end());
  const size_t middle = sorted.size() / 2;
  summary.median =
      sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2.0;
  summary.unchanged = static_cast<double>(std::count(sorted.begin(), sorted.end(), tokens)) /
                      static_cast<double>(sorted.size());
  return summary;
}

nlohmann::ordered_json IntervalJson(const Interval& interval) {
  const auto bound = [](double value) {
    return std::isfinite(value) ? nlohmann::ordered_json(value) : nlohmann::ordered_json(nullptr);
  };
  return {
      {"mean", bound(interval.mean)}, {"low", bound(interval.low)}, {"high", bound(interval.high)}};
}

std::string PercentText(const Interval& share) {
  return fmt::format("{:+.3f} % (95 %: {:+.3f} to {:+.3f})", 100 * share.mean, 100 * share.low,
                     100 * share.high);
}

std::string NumberText(const Interval& interval, int decimals) {
  return fmt::format("{:.{}f} (95 %: {:.{}f} to {:.{}f})", interval.mean, decimals, interval.low,
                     decimals, interval.high, decimals);
}

}  // namespace baton
