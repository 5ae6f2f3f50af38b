#include "tests/bench/kernels_gpu/benches.h"
#include "tests/gpu/support/memory.h"

namespace baton::bench {

// What a graph node costs that does nothing worth speaking of: the floor of every time below.
void BenchGraphNode(GpuBench& bench) {
  const kernels::cuda::DeviceBytes target(256);
  const double us = bench.TimeUs(64, [&](int copy, cudaStream_t stream) {
    return cudaMemsetAsync(target.data(), copy, 4, stream);
  });
  bench.Report({.op = "graph_node", .shape = "4 bytes", .variant = "memset", .us = us});
}

}  // namespace baton::bench
