#include "kernels/attention/decode_kernel.cuh"

namespace baton::kernels::cuda {

cudaError_t LaunchDecodeInt8(const DecodeArgs& args, const DecodeLaunch& launch) {
  return LaunchDecodeFormats<KvCodecInt8, KvCodecInt8, 2>(args, launch);
}

}  // namespace baton::kernels::cuda
