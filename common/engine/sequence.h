#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "common/engine/request.h"

namespace baton {

// The tokens of one request, prompt and output, and how many of them have K and V in the pages.
// Knows nothing of pages or streams. Owned by the engine thread.
//
// Always computed() <= tokens().size(). The token at position tokens().size() - 1 is sampled but
// not computed while a sequence decodes.
class Sequence {
 public:
  explicit Sequence(EngineRequest request);

  const EngineRequest& request() const { return request_; }
  std::span<const int32_t> tokens() const { return tokens_; }
  std::span<const int32_t> prompt() const {
    return std::span(tokens_).first(request_.prompt.size());
  }
  int prompt_tokens() const { return static_cast<int>(request_.prompt.size()); }
  int output_tokens() const { return static_cast<int>(tokens_.size()) - prompt_tokens(); }
  int computed() const { return computed_; }
  int uncomputed() const { return static_cast<int>(tokens_.size()) - computed_; }
  // Set by Append; a finished sequence takes no more tokens.
  const std::optional<Finish>& finish() const { return finish_; }

  // Positions [0, end) are in the pages: computed here, matched or received. May go back (a prefix
  // match of another worker's pages starts over).
  void SetComputed(int end);
  // Appends an output token and returns how the sequence ended with it, if it did.
  const std::optional<Finish>& Append(int32_t token);

 private:
  EngineRequest request_;
  std::vector<int32_t> tokens_;  // prompt, then output
  int computed_ = 0;
  std::optional<Finish> finish_;
};

}  // namespace baton
