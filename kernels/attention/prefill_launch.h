// The instances of the prefill kernels, each compiled in a file of its own. Internal.
#pragma once

#include <cuda_runtime_api.h>

#include "kernels/cuda/types.h"

namespace baton::kernels::cuda {

struct PrefillLaunch;
struct PrefillGatherLaunch;

// The attention and, where tiles are split, the merge. `blocks`: of the persistent grid, at most
// one a multiprocessor.
cudaError_t LaunchPrefillFp16Dim64(const PrefillLaunch& p, int blocks, cudaStream_t stream);
cudaError_t LaunchPrefillFp16Dim128(const PrefillLaunch& p, int blocks, cudaStream_t stream);
cudaError_t LaunchPrefillBf16Dim64(const PrefillLaunch& p, int blocks, cudaStream_t stream);
cudaError_t LaunchPrefillBf16Dim128(const PrefillLaunch& p, int blocks, cudaStream_t stream);

cudaError_t LaunchPrefillGather(const PrefillGatherLaunch& p, ActivationType type, int head_dim,
                                int blocks, int kv_heads, cudaStream_t stream);

}  // namespace baton::kernels::cuda
