#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "absl/status/statusor.h"
#include "baton/v1/inference.pb.h"
#include "common/base/clock.h"
#include "router/output_text.h"

namespace baton {

// What one request answers: its tokens by index, their text, and the figures of Complete as they
// become known. Not thread-safe.
class Answer {
 public:
  // `vocab_size` bounds the token ids of workers.
  Answer(OutputText text, uint32_t vocab_size, bool want_logprobs, TimePoint received)
      : text_(std::move(text)),
        vocab_size_(vocab_size),
        want_logprobs_(want_logprobs),
        received_(received) {}

  struct Step {
    v1::GenerateResponse chunk;
    std::optional<std::string> matched_stop;  // the token completed it: the answer ends
  };
  // The next token; INTERNAL for one that the model does not have. `logprobs` may be null.
  absl::StatusOr<Step> Push(int32_t token, const v1::Logprobs* logprobs, TimePoint now);

  // Text that was held back, as a chunk without tokens; nothing after a matched stop string.
  std::optional<v1::GenerateResponse> Rest();
  // The last message. Call once.
  v1::GenerateResponse TakeComplete(TimePoint now);

  uint32_t tokens() const { return tokens_; }
  // Index 0 once it was pushed: what later attempts are forced to.
  const std::optional<int32_t>& first_token() const { return first_token_; }
  const std::optional<v1::Logprobs>& first_logprobs() const { return first_logprobs_; }
  // Figures that others fill in.
  v1::Complete& figures() { return complete_; }

 private:
  OutputText text_;
  const uint32_t vocab_size_;
  const bool want_logprobs_;
  const TimePoint received_;
  uint32_t tokens_ = 0;
  std::optional<int32_t> first_token_;
  std::optional<v1::Logprobs> first_logprobs_;
  TimePoint last_token_at_;
  v1::Complete complete_;
};

}  // namespace baton
