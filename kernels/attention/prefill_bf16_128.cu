#include "kernels/attention/prefill_instance.cuh"

namespace baton::kernels::cuda {

cudaError_t LaunchPrefillBf16Dim128(const PrefillLaunch& p, int blocks, cudaStream_t stream) {
  return LaunchPrefillInstance<Bf16, 128>(p, blocks, stream);
}

}  // namespace baton::kernels::cuda
