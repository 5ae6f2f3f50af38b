// What this machine can do at most, measured, and a way to time a kernel on several threads.
#pragma once

#include <cstdint>
#include <functional>

namespace baton::bench {

// Runs part(index, count) on `threads` threads at once, `repeats` times, and returns the seconds of
// the fastest run. A run takes as long as its slowest part was on a CPU, so a thread that another
// process displaced is not charged for the wait; what that process does to caches and memory stays.
double FastestRun(int threads, int repeats, const std::function<void(int, int)>& part);

struct Peaks {
  double flops;        // fp32 multiply-adds, two operations each, per second
  double int8_ops;     // INT8 dot products, two operations per product, per second
  double read_cache;   // bytes per second, 16 MiB in all
  double read_memory;  // bytes per second, 512 MiB in all
};
Peaks MeasurePeaks(int threads);

}  // namespace baton::bench
