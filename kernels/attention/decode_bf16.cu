#include "kernels/attention/decode_kernel.cuh"

namespace baton::kernels::cuda {

cudaError_t LaunchDecodeBf16(const DecodeArgs& args, const DecodeLaunch& launch) {
  return LaunchDecodeFormats<KvCodecBf16, KvCodecBf16, 1>(args, launch);
}

}  // namespace baton::kernels::cuda
