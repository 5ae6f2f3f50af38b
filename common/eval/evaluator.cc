#include "common/eval/evaluator.h"

#include <algorithm>
#include <cmath>

#include "common/base/status.h"
#include "kernels/numeric/partition.h"
#include "kernels/sampling/sampling.h"

namespace baton {

int Evaluator::SequenceTokens(const EvalConfig& config) {
  return std::max(config.window, config.window / 2 + config.greedy_tokens);
}

absl::Status Evaluator::CheckConfig(std::span<const std::span<const int32_t>> windows) const {
  if (config_.window < 4) {
    return InvalidArgument("window: {}, expected at least 4 tokens", config_.window);
  }
  if (config_.greedy_tokens < 0 || config_.greedy_tokens > config_.window) {
    return InvalidArgument("greedy tokens: {}, expected 0 to {}, the window", config_.greedy_tokens,
                           config_.window);
  }
  for (size_t i = 0; i < windows.size(); ++i) {
    if (static_cast<int>(windows[i].size()) != config_.window) {
      return InvalidArgument("window {}: {} tokens, expected {}", i, windows[i].size(),
                             config_.window);
    }
  }
  return absl::OkStatus();
}

// Rows are cut and compared by one vocabulary, the reference's.
absl::Status Evaluator::CheckVocabularies(std::span<const PairSpec> pairs) {
  BATON_ASSIGN_OR_RETURN(const EvalRunner* reference, pool_.Get(config_.reference.decode));
  const int expected = reference->model->config.vocab_size;
  vocabulary_ = static_cast<size_t>(expected);
  std::vector<const RoleSpec*> roles = {&config_.reference.prefill};
  for (const PairSpec& pair : pairs) {
    roles.push_back(&pair.prefill);
    roles.push_back(&pair.decode);
  }
  for (const RoleSpec* role : roles) {
    BATON_ASSIGN_OR_RETURN(const EvalRunner* runner, pool_.Get(*role));
    if (runner->model->config.vocab_size != expected) {
      return FailedPrecondition("{}: vocab_size {}, expected {} as the reference has", role->model,
                                runner->model->config.vocab_size, expected);
    }
  }
  return absl::OkStatus();
}

absl::StatusOr<EvalResult> Evaluator::Run(std::span<const std::span<const int32_t>> windows,
                                          std::span<const PairSpec> pairs,
                                          const Progress& progress) {
  BATON_RETURN_IF_ERROR(CheckConfig(windows));
  BATON_RETURN_IF_ERROR(CheckVocabularies(pairs));
  if (config_.divergence) {
    rows_ = ReferenceRows(config_.window - Half(), static_cast<int>(vocabulary_));
  }
  EvalResult result;
  result.pairs.resize(pairs.size());
  scores_.assign(static_cast<size_t>(config_.window), {});
  const auto count = static_cast<int>(windows.size());
  for (int i = 0; i < count; ++i) {
    const std::span<const int32_t> window = windows[static_cast<size_t>(i)];
    prefilled_.reset();
    absl::Status status = RunReference(window);
    if (!status.ok()) return Annotate(status, fmt::format("window {}, reference", i));
    Collect(result.reference, count);
    for (size_t p = 0; p < pairs.size(); ++p) {
      status = RunPair(pairs[p], window);
      if (!status.ok()) return Annotate(status, fmt::format("window {}, pair {}", i, p));
      Collect(result.pairs[p], count);
    }
    if (progress) progress(i + 1, count);
  }
  return result;
}

absl::Status Evaluator::RunReference(std::span<const int32_t> window) {
  const PairSpec& pair = config_.reference;
  BATON_RETURN_IF_ERROR(ScorePair(pair, window, Part::kReference));
  reference_scores_ = scores_;
  first_difference_ = config_.greedy_tokens;
  return ContinueGreedily(pair);
}

absl::Status Evaluator::RunPair(const PairSpec& pair, std::span<const int32_t> window) {
  if (pair == config_.reference) {
    scores_ = reference_scores_;
    prefilled_ = pair.prefill;
    first_difference_ = config_.greedy_tokens;
    return absl::OkStatus();
  }
  BATON_RETURN_IF_ERROR(ScorePair(pair, window, Part::kPair));
  return FindFirstDifference(pair);
}

absl::Status Evaluator::ScorePair(const PairSpec& pair, std::span<const int32_t> window,
                                  Part part) {
  BATON_RETURN_IF_ERROR(PrefillOnce(pair.prefill, window, part));
  BATON_RETURN_IF_ERROR(run_.HandOver(pair, Half()));
  const auto half = static_cast<size_t>(Half());
  return run_.Decode(pair.decode, window.subspan(half, window.size() - half - 1), Half(),
                     [&](int first_target, std::span<const float> logits) {
                       return ScoreRows(window, first_target, logits, part);
                     });
}

// A prompt that the reference computed serves a pair of the same prefill role as well: its distance
// from itself is the zero that stands in its scores.
absl::Status Evaluator::PrefillOnce(const RoleSpec& role, std::span<const int32_t> window,
                                    Part part) {
  if (prefilled_ == role) return absl::OkStatus();
  prefilled_.reset();
  BATON_RETURN_IF_ERROR(run_.Prefill(role, window.first(static_cast<size_t>(Half())),
                                     config_.score_prompt,
                                     [&](int first_target, std::span<const float> logits) {
                                       return ScoreRows(window, first_target, logits, part);
                                     }));
  prefilled_ = role;
  return absl::OkStatus();
}

absl::Status Evaluator::ScoreRows(std::span<const int32_t> window, int first_target,
                                  std::span<const float> logits, Part part) {
  const auto rows = static_cast<int64_t>(logits.size() / vocabulary_);
  pool_.threads().Run([&](int thread, int threads) {
    const kernels::Range share = kernels::Partition(rows, thread, threads);
    for (int64_t row = share.begin; row < share.end; ++row) {
      const auto values = logits.subspan(static_cast<size_t>(row) * vocabulary_, vocabulary_);
      const int target = first_target + static_cast<int>(row);
      const int position = target - Half();
      const int32_t token = window[static_cast<size_t>(target)];
      RowScore& score = scores_[static_cast<size_t>(target)];
      if (!config_.divergence || position < 0) {
        score = ScoreRow(values, token);
      } else if (part == Part::kReference) {
        score = ScoreRow(values, token);
        rows_.Set(position, values);
      } else {
        score = ScoreRow(values, token, rows_.Get(position));
      }
    }
  });
  for (int64_t row = 0; row < rows; ++row) {
    const auto target = static_cast<size_t>(first_target + row);
    if (std::isnan(scores_[target].nll)) {
      return Internal("token {}: its logits are not numbers, expected finite weights", target);
    }
  }
  return absl::OkStatus();
}

absl::Status Evaluator::ContinueGreedily(const PairSpec& pair) {
  greedy_.clear();
  if (config_.greedy_tokens == 0) return absl::OkStatus();
  greedy_.push_back(scores_[static_cast<size_t>(Half())].best);
  while (static_cast<int>(greedy_.size()) < config_.greedy_tokens) {
    const int32_t last = greedy_.back();
    const int position = Half() + static_cast<int>(greedy_.size()) - 1;
    BATON_RETURN_IF_ERROR(run_.Decode(pair.decode, std::span(&last, 1), position,
                                      [&](int, std::span<const float> logits) {
                                        greedy_.push_back(kernels::SampleGreedy(logits));
                                        return absl::OkStatus();
                                      }));
    if (greedy_.back() < 0) return Internal("greedy token {}: no logit is a number", position);
  }
  return absl::OkStatus();
}

// Up to the first difference a pair's own continuation is the reference's: computing that one as
// given finds the same token that decoding freely would.
absl::Status Evaluator::FindFirstDifference(const PairSpec& pair) {
  first_difference_ = config_.greedy_tokens;
  if (greedy_.empty()) return absl::OkStatus();
  if (scores_[static_cast<size_t>(Half())].best != greedy_[0]) {
    first_difference_ = 0;
    return absl::OkStatus();
  }
  const auto given = std::span<const int32_t>(greedy_).first(greedy_.size() - 1);
  return run_.Decode(pair.decode, given, Half(),
                     [&](int first_target, std::span<const float> logits) {
                       const int first = first_target - Half();
                       for (size_t row = 0; row < logits.size() / vocabulary_; ++row) {
                         const int index = first + static_cast<int>(row);
                         const int32_t best =
                             kernels::SampleGreedy(logits.subspan(row * vocabulary_, vocabulary_));
                         if (best != greedy_[static_cast<size_t>(index)]) {
                           first_difference_ = std::min(first_difference_, index);
                         }
                       }
                       return absl::OkStatus();
                     });
}

void Evaluator::Collect(PairScores& scores, int windows) const {
  const size_t half = static_cast<size_t>(Half());
  const size_t first = config_.score_prompt ? 1 : half;
  const size_t end = scores_.size();
  const size_t positions = end - half;
  scores.nll_by_position.resize(positions);
  scores.kl_by_position.resize(positions);
  scores.agreement_by_position.resize(positions);
  double nll = 0;
  double kl = 0;
  double agreed = 0;
  for (size_t target = first; target < end; ++target) {
    const RowScore& score = scores_[target];
    nll += score.nll;
    if (target < half) continue;
    const size_t position = target - half;
    kl += score.kl;
    scores.nll_by_position[position] += score.nll / windows;
    scores.kl_by_position[position] += score.kl / windows;
    if (score.best == reference_scores_[target].best) {
      agreed += 1;
      scores.agreement_by_position[position] += 1.0 / windows;
    }
  }
  scores.window_nll.push_back(nll / static_cast<double>(end - first));
  scores.window_kl.push_back(kl / static_cast<double>(positions));
  scores.window_agreement.push_back(agreed / static_cast<double>(positions));
  scores.first_difference.push_back(first_difference_);
}

}  // namespace baton
