#pragma once

#include <optional>

#include "absl/status/statusor.h"
#include "baton/v1/prefill.pb.h"
#include "common/base/ids.h"
#include "common/engine/request.h"
#include "common/handoff/link.h"

namespace baton {

// Index 0 of the output: sampled here, or dictated by the router.
struct FirstOutput {
  int32_t token = 0;
  std::optional<v1::Logprobs> logprobs;
};

// A Start, checked.
struct PrefillTask {
  TransferId id;
  uint32_t attempt = 1;
  EngineRequest request;
  std::optional<DecodeAddress> decode;  // absent: nobody takes the KV
  std::optional<FirstOutput> forced;    // do not sample
};

// A Rebind, checked.
struct RebindTask {
  uint32_t attempt = 1;
  DecodeAddress decode;
  std::optional<FirstOutput> forced;
};

struct AdmissionLimits {
  RequestLimits request;
  Incarnation self;
  int page_tokens = 0;
  int page_count = 0;
};

// What came from the router, checked against what this worker is. UNAVAILABLE for another
// incarnation, else INVALID_ARGUMENT naming field, value and expectation.
absl::StatusOr<PrefillTask> ParseStart(const v1::PrefillStart& start,
                                       const AdmissionLimits& limits);
absl::StatusOr<RebindTask> ParseRebind(const v1::PrefillRebind& rebind,
                                       const AdmissionLimits& limits);

}  // namespace baton
