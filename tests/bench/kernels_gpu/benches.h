// The benchmarks of this program, one function an operation.
#pragma once

#include "tests/bench/kernels_gpu/bench.h"

namespace baton::bench {

// Name for --only, and what measures and reports. In the order of a decoder layer.
struct NamedBench {
  const char* name;
  void (*run)(GpuBench& bench);
};

void BenchPeaks(GpuBench& bench);

inline constexpr NamedBench kBenches[] = {
    {"peaks", BenchPeaks},
};

}  // namespace baton::bench
