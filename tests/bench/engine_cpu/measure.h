#pragma once

#include <memory>
#include <vector>

#include "absl/status/statusor.h"
#include "common/runner/cpu/cpu_runner.h"

namespace baton::bench {

// What one step of a measurement holds.
struct Workload {
  int sequences = 1;
  int depth = 0;   // tokens already in the cache of each sequence
  int tokens = 1;  // 1: decode, one token of each sequence per step; more: one prefill chunk
  int steps = 1;   // timed steps; decode goes deeper by one token each
};

// What time is counted.
enum class TimeBase {
  kWall,
  kCpu,  // of the calling thread: what one thread would take on a machine without other load
};

// Tokens per second of one run of the workload.
absl::StatusOr<double> Measure(CpuRunner& runner, const Workload& workload, int vocabulary,
                               TimeBase base);

// Tokens of context each sequence of the workload needs.
int ContextOf(const Workload& workload);

struct Spread {
  double median = 0;
  double min = 0;
  double max = 0;
};
Spread SpreadOf(std::vector<double> samples);

}  // namespace baton::bench
