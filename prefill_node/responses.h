#pragma once

#include <vector>

#include "baton/v1/prefill.pb.h"
#include "prefill_node/prefill_job.h"

namespace baton {

// What a prefill worker tells the router, built from the state of a job. Pure.

v1::PrefillResponse StartedResponse(const PrefillJob& job);
// The job's first token is known; names the finish reason when it ends the request.
v1::PrefillResponse FirstTokenResponse(const PrefillJob& job);
v1::PrefillResponse RefusedResponse(const PrefillJob& job, v1::RefuseCode code,
                                    const std::vector<v1::Mismatch>& mismatches);
v1::PrefillResponse DeliveredResponse(const PrefillJob& job);

}  // namespace baton
