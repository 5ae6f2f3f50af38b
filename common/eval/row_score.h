#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace baton {

// What one row of logits says about the token that follows.
struct RowScore {
  double nll = 0;    // of the token that does follow, nats
  double kl = 0;     // from the reference's distribution to this one, nats; 0 without a reference
  int32_t best = 0;  // most probable token; ties: the lower id
};

// A distribution that rows are compared with.
struct ReferenceRow {
  std::span<const float> log_probabilities;  // [vocabulary]
  std::span<const float> probabilities;      // [vocabulary]
};

// Sums in double, ascending by token. `nll` is NaN where the logits have a NaN or no finite value.
RowScore ScoreRow(std::span<const float> logits, int32_t target);
// The same and KL(reference ‖ row).
RowScore ScoreRow(std::span<const float> logits, int32_t target, const ReferenceRow& reference);

// Distributions of the reference for consecutive positions of one window, and nothing beyond it:
// the memory is bounded by rows × vocabulary.
class ReferenceRows {
 public:
  ReferenceRows(int rows, int vocabulary);

  // Stores the log-softmax of `logits` as row `row`. Different rows may be set by several threads.
  void Set(int row, std::span<const float> logits);
  ReferenceRow Get(int row) const;

 private:
  size_t vocabulary_;
  std::vector<float> log_probabilities_;  // [rows][vocabulary]
  std::vector<float> probabilities_;      // [rows][vocabulary]
};

}  // namespace baton
