#include "kernels/attention/prefill_gather.cuh"
#include "kernels/attention/prefill_launch.h"
#include "kernels/cuda/launch.cuh"

namespace baton::kernels::cuda {

cudaError_t LaunchPrefillGather(const PrefillGatherLaunch& p, ActivationType type, int head_dim,
                                int blocks, int kv_heads, cudaStream_t stream) {
  const bool fp16 = type == ActivationType::kFp16;
  const auto kernel = head_dim == 64
                          ? fp16 ? PrefillGatherKernel<Fp16, 64> : PrefillGatherKernel<Bf16, 64>
                      : fp16 ? PrefillGatherKernel<Fp16, 128>
                             : PrefillGatherKernel<Bf16, 128>;
  return Launch(kernel, {.grid = dim3(blocks, kv_heads, 2), .block = dim3(kGatherThreads)}, stream,
                p);
}

}  // namespace baton::kernels::cuda
