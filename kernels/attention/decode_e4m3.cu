#include "kernels/attention/decode_kernel.cuh"

namespace baton::kernels::cuda {

cudaError_t LaunchDecodeE4m3(const DecodeArgs& args, const DecodeLaunch& launch) {
  return LaunchDecodeFormats<KvCodecE4m3, KvCodecE4m3, 2>(args, launch);
}

}  // namespace baton::kernels::cuda
