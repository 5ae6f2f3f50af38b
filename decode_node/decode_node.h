#pragma once

#include <string>

#include "common/worker/worker_options.h"

namespace baton {

// What a decode worker is told besides WorkerOptions.
struct DecodeOptions {
  std::string kv_listen = "127.0.0.1:0";  // bulk listener, host:port
  double max_pending_kv = 0.5;            // share of the pages for requests that wait for their KV
};

// Runs a decode worker until it is drained or told to stop. The status says why it could not.
absl::Status RunDecodeNode(WorkerOptions options, const DecodeOptions& decode);

}  // namespace baton
