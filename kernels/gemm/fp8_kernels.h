// The instantiated FP8 kernels: one .cu file and one line here for each variant. Plain C++.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include "kernels/cuda/launch.cuh"
#include "kernels/gemm/fp8_params.h"
#include "kernels/gemm/kernel_shapes.h"

namespace baton::kernels::cuda {

// Maps of the weights and of the activations; the block size of `shape` is the kernel's own.
using Fp8Launcher = cudaError_t (*)(const LaunchShape& shape, cudaStream_t stream,
                                    const CUtensorMap& weights, const CUtensorMap& tokens,
                                    const Fp8SmallParams& params);

struct Fp8Launchers {
  Fp8Variant variant;
  Fp8Launcher launch[2][2];  // [ActivationType][Fp8Mode]
};

// In the order of kFp8Variants (config.h).
const Fp8Launchers& Fp8Kernels(int variant);

}  // namespace baton::kernels::cuda
