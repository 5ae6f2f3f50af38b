// Launching with programmatic dependent launch: the grid may start while its predecessor in the
// stream drains. A kernel so launched must call WaitForPredecessor() (ptx.cuh) before it reads
// anything that earlier work in the stream wrote, and before it writes anything that earlier work
// may still read.
#pragma once

#include <cuda_runtime.h>

#include <cstddef>
#include <utility>

namespace baton::kernels::cuda {

struct LaunchShape {
  dim3 grid;
  dim3 block;
  size_t shared_bytes = 0;  // dynamic; above 48 KiB the kernel must have opted in
  int cluster = 1;          // blocks of x in one cluster
  bool dependent = true;    // programmatic dependent launch
};

template <typename... Params, typename... Args>
cudaError_t Launch(void (*kernel)(Params...), const LaunchShape& shape, cudaStream_t stream,
                   Args&&... args) {
  cudaLaunchAttribute attributes[2];
  unsigned count = 0;
  if (shape.dependent) {
    attributes[count].id = cudaLaunchAttributeProgrammaticStreamSerialization;
    attributes[count++].val.programmaticStreamSerializationAllowed = 1;
  }
  if (shape.cluster > 1) {
    attributes[count].id = cudaLaunchAttributeClusterDimension;
    attributes[count].val.clusterDim.x = shape.cluster;
    attributes[count].val.clusterDim.y = 1;
    attributes[count++].val.clusterDim.z = 1;
  }
  cudaLaunchConfig_t config = {};
  config.gridDim = shape.grid;
  config.blockDim = shape.block;
  config.dynamicSmemBytes = shape.shared_bytes;
  config.stream = stream;
  config.attrs = attributes;
  config.numAttrs = count;
  return cudaLaunchKernelEx(&config, kernel, Params(std::forward<Args>(args))...);
}

}  // namespace baton::kernels::cuda
