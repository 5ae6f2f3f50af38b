#pragma once

#include <string_view>

#include "absl/status/status.h"
#include "baton/v1/prefill.pb.h"
#include "router/pairing.h"

namespace baton {

// Whether a stream that ended so means that the worker or the way to it is gone.
bool IsLoss(const absl::Status& status);

// UNAVAILABLE: what a client hears of a lost worker.
absl::Status Lost(std::string_view role, const WorkerRef& worker, const absl::Status& status);

// INTERNAL: a worker said what the protocol does not allow here.
absl::Status Broke(std::string_view role, const WorkerRef& worker, std::string_view what);

// FAILED_PRECONDITION with the fields for contracts that differ, else UNAVAILABLE.
absl::Status RefusalStatus(const v1::PrefillRefused& message);

}  // namespace baton
