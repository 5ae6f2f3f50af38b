#include "common/tokenizer/streaming_detokenizer.h"

#include "common/base/status.h"

namespace baton {

absl::StatusOr<std::string> StreamingDetokenizer::Push(int32_t id) {
  BATON_ASSIGN_OR_RETURN(const std::string_view bytes, tokenizer_.TokenBytes(id));
  if (options_.skip_special_tokens && tokenizer_.is_special(id)) return std::string();
  return decoder_.Push(bytes);
}

}  // namespace baton
