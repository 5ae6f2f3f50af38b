#include "router/output_text.h"

#include <utility>

#include "common/base/status.h"

namespace baton {

absl::StatusOr<OutputText> OutputText::Create(const RequestSpec& spec, const TextCodec* codec) {
  std::unique_ptr<TextDecoder> decoder;
  if (codec != nullptr) decoder = codec->NewDecoder(spec.skip_special_tokens);
  std::optional<StopStringMatcher> matcher;
  if (!spec.stops.empty()) {
    auto created = StopStringMatcher::Create(spec.stops, {.include_stop = spec.include_stop});
    if (!created.ok()) return Annotate(created.status(), "stop");
    matcher = *std::move(created);
  }
  return OutputText(spec.stops, std::move(decoder), std::move(matcher));
}

absl::StatusOr<OutputText::Piece> OutputText::Push(int32_t token) {
  Piece piece;
  if (decoder_ == nullptr) return piece;
  BATON_ASSIGN_OR_RETURN(piece.text, decoder_->Push(token));
  if (matcher_) {
    StopStringMatcher::Output output = matcher_->Push(piece.text, tokens_);
    piece.text = std::move(output.text);
    if (output.match) piece.matched_stop = stops_[output.match->stop];
  }
  ++tokens_;
  return piece;
}

std::string OutputText::Finish() {
  if (decoder_ == nullptr) return {};
  std::string rest = decoder_->Flush();
  if (!matcher_) return rest;
  StopStringMatcher::Output output = matcher_->Push(rest, tokens_);
  if (output.match) return std::move(output.text);
  return output.text + matcher_->Flush();
}

}  // namespace baton
