#pragma once

#include "kernels/attention/prefill_kernel.cuh"
#include "kernels/attention/prefill_launch.h"
#include "kernels/attention/prefill_merge.cuh"
#include "kernels/cuda/launch.cuh"

namespace baton::kernels::cuda {

template <typename T, int kDim>
cudaError_t LaunchPrefillInstance(const PrefillLaunch& p, int blocks, cudaStream_t stream) {
  constexpr int kGroups = PrefillTileRows(kDim) / 64;
  constexpr size_t kShared = sizeof(PrefillShared<kDim, kGroups>) + 1024;  // to align it
  const auto kernel = PrefillKernel<T, kDim, kGroups>;
  if (const cudaError_t error = cudaFuncSetAttribute(
          kernel, cudaFuncAttributeMaxDynamicSharedMemorySize, static_cast<int>(kShared));
      error != cudaSuccess) {
    return error;
  }
  const cudaError_t error = Launch(
      kernel, {.grid = dim3(blocks), .block = dim3((kGroups + 1) * 128), .shared_bytes = kShared},
      stream, p);
  if (error != cudaSuccess || p.merge_count == 0) return error;
  return Launch(PrefillMergeKernel<T, kDim>,
                {.grid = dim3(p.merge_count, PrefillTileRows(kDim) / kMergeRows),
                 .block = dim3(kMergeRows * 32)},
                stream, p);
}

}  // namespace baton::kernels::cuda
