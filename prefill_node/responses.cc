#include "prefill_node/responses.h"

#include "common/engine/request.h"

namespace baton {

v1::PrefillResponse StartedResponse(const PrefillJob& job) {
  v1::PrefillResponse response;
  response.mutable_started()->set_attempt(job.attempt);
  return response;
}

v1::PrefillResponse FirstTokenResponse(const PrefillJob& job) {
  v1::PrefillResponse response;
  v1::FirstToken* first = response.mutable_first_token();
  first->set_attempt(job.attempt);
  first->set_token_id(job.first->token);
  if (job.first->logprobs) *first->mutable_logprobs() = *job.first->logprobs;
  if (const auto finish = CheckStop(job.sequence.request().stop, job.first->token, 1)) {
    first->set_finish_reason(finish->reason);
    if (finish->matched_stop_token) first->set_matched_stop_token(*finish->matched_stop_token);
  }
  first->set_cached_tokens(job.cached_tokens);
  first->set_queue_ms(Milliseconds(job.computing_since - job.arrived));
  first->set_prefill_ms(Milliseconds(job.computed_at - job.computing_since));
  return response;
}

v1::PrefillResponse RefusedResponse(const PrefillJob& job, v1::RefuseCode code,
                                    const std::vector<v1::Mismatch>& mismatches) {
  v1::PrefillResponse response;
  v1::PrefillRefused* refused = response.mutable_refused();
  refused->set_attempt(job.attempt);
  refused->set_code(code);
  for (const v1::Mismatch& mismatch : mismatches) *refused->add_mismatches() = mismatch;
  return response;
}

v1::PrefillResponse DeliveredResponse(const PrefillJob& job) {
  v1::PrefillResponse response;
  response.mutable_delivered()->set_attempt(job.attempt);
  response.mutable_delivered()->set_pack_ms(Milliseconds(job.pack_time));
  return response;
}

}  // namespace baton
