#include "kernels/attention/decode_kernel.cuh"

namespace baton::kernels::cuda {

cudaError_t LaunchDecodeInt4(const DecodeArgs& args, const DecodeLaunch& launch) {
  return LaunchDecodeFormats<KvCodecInt4, KvCodecInt4, 2>(args, launch);
}

}  // namespace baton::kernels::cuda
