#include "router/answer.h"

#include <utility>

#include "common/base/status.h"

namespace baton {

absl::StatusOr<Answer::Step> Answer::Push(int32_t token, const v1::Logprobs* logprobs,
                                          TimePoint now) {
  if (token < 0 || static_cast<uint32_t>(token) >= vocab_size_) {
    return Internal("token {}: id {}, expected 0 to {}", tokens_, token, vocab_size_ - 1);
  }
  absl::StatusOr<OutputText::Piece> piece = text_.Push(token);
  if (!piece.ok()) return Internal("token {}: {}", tokens_, MessageOf(piece.status()));
  Step step;
  v1::Chunk& chunk = *step.chunk.mutable_chunk();
  chunk.set_first_index(tokens_);
  chunk.add_token_ids(token);
  chunk.set_text(std::move(piece->text));
  if (logprobs != nullptr && want_logprobs_) *chunk.add_logprobs() = *logprobs;
  v1::Timing& timing = *complete_.mutable_timing();
  if (tokens_ == 0) {
    first_token_ = token;
    if (logprobs != nullptr) first_logprobs_ = *logprobs;
    timing.set_ttft_ms(Milliseconds(now - received_));
  } else {
    timing.add_itl_ms(Milliseconds(now - last_token_at_));
  }
  last_token_at_ = now;
  ++tokens_;
  step.matched_stop = std::move(piece->matched_stop);
  return step;
}

std::optional<v1::GenerateResponse> Answer::Rest() {
  std::string rest = text_.Finish();
  if (rest.empty()) return std::nullopt;
  v1::GenerateResponse response;
  response.mutable_chunk()->set_first_index(tokens_);
  response.mutable_chunk()->set_text(std::move(rest));
  return response;
}

v1::GenerateResponse Answer::TakeComplete(TimePoint now) {
  complete_.mutable_usage()->set_completion_tokens(tokens_);
  complete_.mutable_timing()->set_e2e_ms(Milliseconds(now - received_));
  complete_.mutable_kv();
  v1::GenerateResponse response;
  *response.mutable_complete() = std::move(complete_);
  return response;
}

}  // namespace baton
