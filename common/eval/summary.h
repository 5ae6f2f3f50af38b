#pragma once

#include <nlohmann/json_fwd.hpp>
#include <string>
#include <vector>

#include "common/eval/evaluator.h"
#include "common/eval/statistics.h"

namespace baton {

// What the scores of a pair come to.
struct PairSummary {
  Interval perplexity;
  Interval increase;   // share over the reference's perplexity, paired by window
  Interval kl;         // nats, from the reference
  Interval agreement;  // share of positions with the reference's best token
};

PairSummary Summarize(const PairScores& scores, const PairScores& reference);

// Consecutive positions of the decode taken together.
struct PositionBucket {
  int first = 0;  // of the decode
  int end = 0;
  double increase = 0;  // of the perplexity over the reference's, share
  double kl = 0;
  double agreement = 0;
};

// At most `buckets` of nearly equal length, in order.
std::vector<PositionBucket> BucketPositions(const PairScores& scores, const PairScores& reference,
                                            int buckets);

// How far greedy continuations follow the reference's.
struct GreedySummary {
  int tokens = 0;        // compared
  double median = 0;     // first difference; `tokens` where there is none
  double unchanged = 0;  // share of windows without a difference
};
GreedySummary SummarizeGreedy(const PairScores& scores, int tokens);

// [mean, low, high]; an infinite bound becomes null.
nlohmann::ordered_json IntervalJson(const Interval& interval);

// "+1.25 % (95 %: +1.10 to +1.40)", of a share.
std::string PercentText(const Interval& share);
// "12.345 (95 %: 11.801 to 12.912)".
std::string NumberText(const Interval& interval, int decimals);

}  // namespace baton
