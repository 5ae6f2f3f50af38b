#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "common/base/status.h"
#include "router/text_codec.h"

namespace baton {

// One token per byte; token 0 is special and prepended where special tokens are asked for.
class FakeCodec : public TextCodec {
 public:
  absl::StatusOr<std::vector<int32_t>> Encode(std::string_view text,
                                              bool add_special_tokens) const override {
    std::vector<int32_t> ids;
    if (add_special_tokens) ids.push_back(0);
    for (char c : text) ids.push_back(static_cast<unsigned char>(c));
    return ids;
  }
  std::unique_ptr<TextDecoder> NewDecoder(bool skip_special_tokens) const override {
    return std::make_unique<Decoder>(skip_special_tokens);
  }

 private:
  class Decoder : public TextDecoder {
   public:
    explicit Decoder(bool skip) : skip_(skip) {}
    absl::StatusOr<std::string> Push(int32_t token) override {
      if (token > 255) return InvalidArgument("token: {}, expected at most 255", token);
      if (token == 0) return std::string(skip_ ? "" : "<s>");
      return std::string(1, static_cast<char>(token));
    }
    std::string Flush() override { return {}; }

   private:
    const bool skip_;
  };
};

}  // namespace baton
