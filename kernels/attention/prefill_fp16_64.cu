#include "kernels/attention/prefill_instance.cuh"

namespace baton::kernels::cuda {

cudaError_t LaunchPrefillFp16Dim64(const PrefillLaunch& p, int blocks, cudaStream_t stream) {
  return LaunchPrefillInstance<Fp16, 64>(p, blocks, stream);
}

}  // namespace baton::kernels::cuda
