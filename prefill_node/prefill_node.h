#pragma once

#include "common/worker/worker_options.h"

namespace baton {

// What a prefill worker is told besides WorkerOptions.
struct PrefillOptions {
  int chunk_tokens = 256;
  Duration slab_timeout = std::chrono::seconds(5);
};

// Runs a prefill worker until it is drained or told to stop. The status says why it could not.
absl::Status RunPrefillNode(WorkerOptions options, const PrefillOptions& prefill);

}  // namespace baton
