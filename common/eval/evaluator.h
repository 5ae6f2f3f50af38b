#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <vector>

#include "absl/status/statusor.h"
#include "common/eval/pair_run.h"
#include "common/eval/row_score.h"
#include "common/eval/runner_pool.h"

namespace baton {

struct EvalConfig {
  int window = 1024;  // tokens; the first half is the prompt, the second the decode
  // Score the prompt's tokens too, from the second on: with one precision in both phases this is
  // the perplexity of the whole window.
  bool score_prompt = false;
  bool divergence = false;  // compare distributions with the reference's
  int greedy_tokens = 0;    // compare so many greedy tokens with the reference's; 0 = none
  PairSpec reference;
};

// What one pair gave. Position i of the decode is token window/2 + i: the prefill role predicts
// position 0, as it does in service, the decode role the others.
struct PairScores {
  std::vector<double> window_nll;             // [windows] mean over the scored tokens, nats
  std::vector<double> window_kl;              // [windows] mean over the decode, nats
  std::vector<double> window_agreement;       // [windows] share of the decode, 0 … 1
  std::vector<double> nll_by_position;        // [window − window/2] mean over the windows
  std::vector<double> kl_by_position;         // the same; zeros without divergence
  std::vector<double> agreement_by_position;  // share of windows with the reference's best token
  // [windows] First greedy token that is not the reference's, `greedy_tokens` where there is none.
  std::vector<int> first_difference;
};

struct EvalResult {
  PairScores reference;
  std::vector<PairScores> pairs;  // in the order asked for
};

// Judges pairs over windows of text, window by window: of the reference no more is kept than the
// distributions of one window's decode. Pairs that follow each other with the same prefill role
// share its computation. One thread at a time.
class Evaluator {
 public:
  using Progress = std::function<void(int windows_done, int windows)>;

  // Borrows `pool`, whose sequences hold SequenceTokens(config).
  Evaluator(const EvalConfig& config, RunnerPool& pool)
      : config_(config), pool_(pool), run_(pool) {}

  // Tokens of the longest sequence that a configuration needs.
  static int SequenceTokens(const EvalConfig& config);

  // Each window holds config.window tokens of the models' vocabulary. INTERNAL names the first
  // token whose logits are not numbers; INVALID_ARGUMENT a configuration out of range.
  absl::StatusOr<EvalResult> Run(std::span<const std::span<const int32_t>> windows,
                                 std::span<const PairSpec> pairs, const Progress& progress);

 private:
  enum class Part { kReference, kPair };

  int Half() const { return config_.window / 2; }
  absl::Status CheckConfig(std::span<const std::span<const int32_t>> windows) const;
  absl::Status CheckVocabularies(std::span<const PairSpec> pairs);  // and loads every model
  // Prefill, hand-over, teacher-forced decode: fills `scores_`.
  absl::Status ScorePair(const PairSpec& pair, std::span<const int32_t> window, Part part);
  absl::Status PrefillOnce(const RoleSpec& role, std::span<const int32_t> window, Part part);
  absl::Status ScoreRows(std::span<const int32_t> window, int first_target,
                         std::span<const float> logits, Part part);
  absl::Status RunReference(std::span<const int32_t> window);
  absl::Status RunPair(const PairSpec& pair, std::span<const int32_t> window);
  // After ScorePair of the same pair: the prompt is in its decode pages.
  absl::Status ContinueGreedily(const PairSpec& pair);
  absl::Status FindFirstDifference(const PairSpec& pair);
  void Collect(PairScores& scores, int windows) const;

  const EvalConfig config_;
  RunnerPool& pool_;
  PairRun run_;
  size_t vocabulary_ = 0;

  // Of the window at hand.
  ReferenceRows rows_{0, 0};                // of the decode
  std::vector<RowScore> scores_;            // [window], by target; of the pair at hand
  std::vector<RowScore> reference_scores_;  // [window], by target
  std::vector<int32_t> greedy_;             // the reference's continuation of the prompt
  int first_difference_ = 0;                // of the pair at hand
  // Whose prompt lies in its prefill pages, with its scores in scores_[1 … window / 2].
  std::optional<RoleSpec> prefilled_;
};

}  // namespace baton
