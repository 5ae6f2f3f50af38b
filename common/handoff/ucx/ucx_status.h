#pragma once

#include <ucs/type/status.h>

#include <string_view>

#include "absl/status/status.h"

namespace baton::ucx {

// UCX's error as ours, with its own text: "what: Connection reset by remote peer". A lost or
// unreachable peer is UNAVAILABLE.
absl::Status FromUcs(ucs_status_t status, std::string_view what);

}  // namespace baton::ucx
