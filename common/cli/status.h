#pragma once

#include <chrono>
#include <string>

#include "absl/status/status.h"

namespace baton {

// `baton wait`: returns once the router sees enough ready workers; for scripts that start a
// cluster.
struct WaitOptions {
  std::string endpoint;
  int prefill = 1;
  int decode = 1;
  std::chrono::milliseconds timeout{60'000};
};

// DEADLINE_EXCEEDED says how many were ready.
absl::Status RunWait(const WaitOptions& options);

// `baton status`: the workers as the router sees them.
struct StatusOptions {
  std::string endpoint;
  bool json = false;
};

absl::Status RunStatus(const StatusOptions& options);

}  // namespace baton
