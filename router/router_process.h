#pragma once

#include "absl/status/status.h"
#include "router/router_options.h"

namespace baton {

// Runs a router until it is drained (SIGTERM or SIGINT) or told a second time to stop. The calling
// thread becomes the router's thread; call it first in main, it blocks the stop signals for all
// threads. The status says why it could not serve.
absl::Status RunRouter(const RouterOptions& options);

}  // namespace baton
