#include "prefill_node/admission.h"

#include <utility>

#include "common/base/status.h"
#include "common/kv/page_table.h"

namespace baton {
namespace {

absl::StatusOr<DecodeAddress> ParsePeer(const v1::DecodePeer& peer) {
  if (peer.identity().worker_id().empty()) {
    return InvalidArgument("decode.identity.worker_id: empty, expected a worker's name");
  }
  if (peer.rpc_endpoint().empty() || peer.kv_endpoint().empty()) {
    return InvalidArgument("decode: rpc_endpoint '{}', kv_endpoint '{}', expected both",
                           peer.rpc_endpoint(), peer.kv_endpoint());
  }
  return DecodeAddress{WorkerId(peer.identity().worker_id()),
                       Incarnation(peer.identity().incarnation()), peer.rpc_endpoint(),
                       peer.kv_endpoint()};
}

// `message` is a PrefillStart or a PrefillRebind.
template <typename Message>
absl::StatusOr<std::optional<FirstOutput>> ParseForced(const Message& message,
                                                       const AdmissionLimits& limits) {
  std::optional<FirstOutput> forced;
  if (!message.has_forced_first_token()) return forced;
  const int32_t token = message.forced_first_token();
  if (token < 0 || token >= limits.request.vocab_size) {
    return InvalidArgument("forced_first_token: {}, expected a token id from 0 to {}", token,
                           limits.request.vocab_size - 1);
  }
  forced.emplace(FirstOutput{token, std::nullopt});
  if (message.has_forced_logprobs()) forced->logprobs = message.forced_logprobs();
  return forced;
}

absl::Status CheckAttempt(uint32_t attempt) {
  if (attempt >= 1) return absl::OkStatus();
  return InvalidArgument("attempt: {}, expected at least 1", attempt);
}

}  // namespace

absl::StatusOr<PrefillTask> ParseStart(const v1::PrefillStart& start,
                                       const AdmissionLimits& limits) {
  PrefillTask task;
  if (start.incarnation() != limits.self.value()) {
    return Unavailable("incarnation: {:x}, expected {:x}", start.incarnation(),
                       limits.self.value());
  }
  BATON_ASSIGN_OR_RETURN(task.id, TransferId::FromBytes(start.transfer_id()));
  BATON_RETURN_IF_ERROR(CheckAttempt(start.attempt()));
  task.attempt = start.attempt();
  BATON_ASSIGN_OR_RETURN(task.request, ParseRequest(start.request(), limits.request));
  const int pages = PagesFor(static_cast<int64_t>(task.request.prompt.size()), limits.page_tokens);
  if (pages > limits.page_count) {
    return InvalidArgument("prompt: {} tokens need {} pages, expected at most {}",
                           task.request.prompt.size(), pages, limits.page_count);
  }
  if (start.has_decode()) {
    BATON_ASSIGN_OR_RETURN(task.decode, ParsePeer(start.decode()));
  } else if (task.request.stop.max_tokens > 1) {
    return InvalidArgument("decode: absent, expected a decode worker with max_tokens {}",
                           task.request.stop.max_tokens);
  }
  BATON_ASSIGN_OR_RETURN(task.forced, ParseForced(start, limits));
  return task;
}

absl::StatusOr<RebindTask> ParseRebind(const v1::PrefillRebind& rebind,
                                       const AdmissionLimits& limits) {
  RebindTask task;
  BATON_RETURN_IF_ERROR(CheckAttempt(rebind.attempt()));
  task.attempt = rebind.attempt();
  BATON_ASSIGN_OR_RETURN(task.decode, ParsePeer(rebind.decode()));
  BATON_ASSIGN_OR_RETURN(task.forced, ParseForced(rebind, limits));
  return task;
}

}  // namespace baton
