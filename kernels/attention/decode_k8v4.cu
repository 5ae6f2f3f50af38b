#include "kernels/attention/decode_kernel.cuh"

namespace baton::kernels::cuda {

cudaError_t LaunchDecodeK8v4(const DecodeArgs& args, const DecodeLaunch& launch) {
  return LaunchDecodeFormats<KvCodecInt8, KvCodecInt4, 2>(args, launch);
}

}  // namespace baton::kernels::cuda
