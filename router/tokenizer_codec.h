#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/tokenizer/tokenizer.h"
#include "router/text_codec.h"

namespace baton {

// TextCodec over the model's tokenizer.
class TokenizerCodec : public TextCodec {
 public:
  explicit TokenizerCodec(std::unique_ptr<Tokenizer> tokenizer)
      : tokenizer_(std::move(tokenizer)) {}
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                              bool add_special_tokens) const override;
  std::unique_ptr<TextDecoder> NewDecoder(bool skip_special_tokens) const override;

 private:
  const std::unique_ptr<Tokenizer> tokenizer_;
};

}  // namespace baton
