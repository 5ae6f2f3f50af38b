#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "common/base/clock.h"
#include "common/base/log.h"
#include "common/kv/lease_table.h"
#include "common/quant/weight_format.h"
#include "kernels/kv_page/kv_format.h"

namespace CLI {
class App;
}

namespace baton {

// What both roles of worker are told on the command line. Durations and sizes are already in their
// units; text that names something is parsed by AddWorkerOptions' checks.
struct WorkerOptions {
  std::string model;              // checkpoint folder
  std::string served_model_name;  // empty: the folder's name
  std::string worker_id;          // empty: role, host and process
  WeightFormat weights = WeightFormat::kAuto;
  kernels::KvFormats kv_format{kernels::KvFormat::kFp16, kernels::KvFormat::kFp16};  // resident
  std::optional<kernels::KvFormats> wire_format;  // accept only this on the wire; absent: any
  int page_tokens = 16;
  uint64_t kv_bytes = 256 << 20;  // memory for pages
  double kv_memory_share = 0;  // instead: share of the memory available after loading; 0: kv_bytes
  int threads = 0;             // of the compute lane; 0: all cores
  bool prefix_cache = true;
  bool trust_model_identity = false;

  std::string router;                  // host:port; empty: serve without a router
  std::string listen = "127.0.0.1:0";  // of the gRPC services
  std::string advertise;               // host that peers connect to; empty: that of listen
  std::string transport = "ucx";
  std::string metrics_listen;  // host:port; empty: no exporter
  std::string port_file;       // where the ports are written once all listen
  bool reflection = false;

  int max_queue = 256;
  int max_batch = 64;
  uint64_t slab_bytes = 4 << 20;    // largest slab, header and payload
  uint64_t arena_bytes = 64 << 20;  // at least two slabs
  LeaseConfig lease;
  Duration drain_timeout = std::chrono::seconds(120);
  LogFormat log_format = LogFormat::kText;
  LogLevel log_level = LogLevel::kInfo;
};

// Adds the flags that both roles share, with their checks: a wrong value is refused by the flag's
// name. `options` outlives the parse.
void AddWorkerOptions(CLI::App& app, WorkerOptions& options);

// "host:port" with a non-empty host and a port from 0 to 65535; INVALID_ARGUMENT names `flag`.
absl::Status CheckEndpoint(std::string_view flag, std::string_view value);

// host:port -> host; the value has passed CheckEndpoint.
std::string HostOf(std::string_view endpoint);

}  // namespace baton
