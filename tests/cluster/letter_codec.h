#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"
#include "router/text_codec.h"

namespace baton {

// Each token is its number in brackets, so that a text tells its tokens.
class LetterCodec : public TextCodec {
 public:
  static std::string TextOf(int32_t token) { return fmt::format("[{}]", token); }

  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text, bool) const override {
    std::vector<int32_t> ids;
    for (char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  std::unique_ptr<TextDecoder> NewDecoder(bool) const override {
    return std::make_unique<Decoder>();
  }

 private:
  class Decoder : public TextDecoder {
   public:
    absl::StatusOr<std::string> Push(int32_t token) override { return TextOf(token); }
    std::string Flush() override { return {}; }
  };
};

}  // namespace baton
