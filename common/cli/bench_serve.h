#pragma once

#include <chrono>
#include <string>

#include "absl/status/status.h"
#include "common/cli/bench_report.h"

namespace baton {

// `baton bench serve`: random prompts against a router, paced by concurrency or by rate.
struct BenchServeOptions {
  std::string endpoint;
  std::string model;
  int requests = 100;
  int concurrency = 0;  // requests in flight at most; 0 = no limit
  double rate = 0;      // requests per second, Poisson; 0 = as fast as the concurrency allows
  int input_len = 128;
  int output_len = 64;
  double range_ratio = 0;  // lengths uniform in [len·(1 − r), len·(1 + r)]
  float temperature = 0;
  uint64_t seed = 0;
  GoodputLimits goodput;
  std::chrono::milliseconds timeout{600'000};
  bool json = false;
  bool progress = true;
};

// Prints the summary. Failed requests are counted, not an error of the command.
absl::Status RunBenchServe(const BenchServeOptions& options);

}  // namespace baton
