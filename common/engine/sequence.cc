#include "common/engine/sequence.h"

#include <utility>

#include "common/base/check.h"

namespace baton {

Sequence::Sequence(EngineRequest request)
    : request_(std::move(request)), tokens_(request_.prompt) {}

void Sequence::SetComputed(int end) {
  BATON_CHECK(end >= 0 && end <= static_cast<int>(tokens_.size()));
  computed_ = end;
}

const std::optional<Finish>& Sequence::Append(int32_t token) {
  BATON_CHECK(!finish_);
  tokens_.push_back(token);
  finish_ = CheckStop(request_.stop, token, output_tokens());
  return finish_;
}

}  // namespace baton
