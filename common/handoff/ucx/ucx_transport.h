#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "common/base/clock.h"
#include "common/handoff/bulk_transport.h"

namespace baton {

struct UcxConfig {
  // kWait: the transport thread progresses while there is work, then sleeps. kBusy: it never
  // sleeps; for nodes with a core to spare.
  enum class Poll { kWait, kBusy };
  Poll poll = Poll::kWait;
  Duration connect_timeout = std::chrono::seconds(10);
  Duration keepalive_interval = std::chrono::seconds(2);
  size_t max_payload_bytes = size_t{256} << 20;
  // Settings of UCX by name without "UCX_", over those of the environment, e.g. {"TLS", "tcp"}.
  std::vector<std::pair<std::string, std::string>> settings;
};

// BulkTransport over UCX Active Messages with rendezvous. One thread owns the UCX worker.
absl::StatusOr<std::unique_ptr<BulkTransport>> CreateUcxTransport(const UcxConfig& config);

}  // namespace baton
