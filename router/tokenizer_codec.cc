#include "router/tokenizer_codec.h"

#include "common/tokenizer/streaming_detokenizer.h"

namespace baton {
namespace {

class DetokenizerText : public TextDecoder {
 public:
  DetokenizerText(const Tokenizer& tokenizer, bool skip_special_tokens)
      : detokenizer_(tokenizer, {.skip_special_tokens = skip_special_tokens}) {}
  absl::StatusOr<std::string> Push(int32_t token) override { return detokenizer_.Push(token); }
  std::string Flush() override { return detokenizer_.Flush(); }

 private:
  StreamingDetokenizer detokenizer_;
};

}  // namespace

absl::StatusOr<std::vector<int32_t>> TokenizerCodec::Encode(std::string_view text,
                                                            bool add_special_tokens) const {
  return tokenizer_->Encode(text, {.add_special_tokens = add_special_tokens});
}

std::unique_ptr<TextDecoder> TokenizerCodec::NewDecoder(bool skip_special_tokens) const {
  return std::make_unique<DetokenizerText>(*tokenizer_, skip_special_tokens);
}

}  // namespace baton
