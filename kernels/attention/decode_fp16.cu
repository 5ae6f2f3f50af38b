#include "kernels/attention/decode_kernel.cuh"

namespace baton::kernels::cuda {

cudaError_t LaunchDecodeFp16(const DecodeArgs& args, const DecodeLaunch& launch) {
  return LaunchDecodeFormats<KvCodecFp16, KvCodecFp16, 1>(args, launch);
}

}  // namespace baton::kernels::cuda
