// The instantiated W4A16 kernels: one .cu file and one line here for each variant. Plain C++.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include "kernels/cuda/launch.cuh"
#include "kernels/gemm/kernel_shapes.h"
#include "kernels/gemm/w4a16_params.h"

namespace baton::kernels::cuda {

// Maps of the weights and of the activations; the block size of `shape` is the kernel's own.
template <typename Params>
using W4A16Launcher = cudaError_t (*)(const LaunchShape& shape, cudaStream_t stream,
                                      const CUtensorMap& weights, const CUtensorMap& activations,
                                      const Params& params);

struct SmallLaunchers {
  SmallVariant variant;
  W4A16Launcher<W4A16SmallParams> launch[2][2];  // [ActivationType][zero points]
};
struct LargeLaunchers {
  LargeVariant variant;
  W4A16Launcher<W4A16LargeParams> launch[2][2];
};

// In the order of kSmallVariants and kLargeVariants (config.h).
const SmallLaunchers& SmallKernels(int variant);
const LargeLaunchers& LargeKernels(int variant);

}  // namespace baton::kernels::cuda
