#include "common/eval/row_score.h"

#include <cmath>
#include <limits>

#include "kernels/sampling/sampling.h"

namespace baton {
namespace {

// log Σ exp(logit); NaN where a logit is NaN or none is finite. `best` is the highest's index.
double LogNormalizer(std::span<const float> logits, int32_t best) {
  if (best < 0) return std::numeric_limits<double>::quiet_NaN();
  const float highest = logits[static_cast<size_t>(best)];
  double sum = 0;
  for (const float logit : logits) sum += std::exp(logit - highest);
  return highest + std::log(sum);
}

}  // namespace

RowScore ScoreRow(std::span<const float> logits, int32_t target) {
  RowScore score;
  score.best = kernels::SampleGreedy(logits);
  score.nll = LogNormalizer(logits, score.best) - logits[static_cast<size_t>(target)];
  return score;
}

RowScore ScoreRow(std::span<const float> logits, int32_t target, const ReferenceRow& reference) {
  RowScore score = ScoreRow(logits, target);
  const double normalizer = score.nll + logits[static_cast<size_t>(target)];
  for (size_t i = 0; i < logits.size(); ++i) {
    const double p = reference.probabilities[i];
    if (p > 0) score.kl += p * (reference.log_probabilities[i] - (logits[i] - normalizer));
  }
  return score;
}

ReferenceRows::ReferenceRows(int rows, int vocabulary)
    : vocabulary_(static_cast<size_t>(vocabulary)),
      log_probabilities_(static_cast<size_t>(rows) * vocabulary_),
      probabilities_(static_cast<size_t>(rows) * vocabulary_) {}

void ReferenceRows::Set(int row, std::span<const float> logits) {
  const double normalizer = LogNormalizer(logits, kernels::SampleGreedy(logits));
  const size_t first = static_cast<size_t>(row) * vocabulary_;
  for (size_t i = 0; i < vocabulary_; ++i) {
    const double log_probability = logits[i] - normalizer;
    log_probabilities_[first + i] = static_cast<float>(log_probability);
    probabilities_[first + i] = std::exp(static_cast<float>(log_probability));
  }
}

ReferenceRow ReferenceRows::Get(int row) const {
  const size_t first = static_cast<size_t>(row) * vocabulary_;
  return {std::span(log_probabilities_).subspan(first, vocabulary_),
          std::span(probabilities_).subspan(first, vocabulary_)};
}

}  // namespace baton
