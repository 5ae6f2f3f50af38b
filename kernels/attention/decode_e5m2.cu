#include "kernels/attention/decode_kernel.cuh"

namespace baton::kernels::cuda {

cudaError_t LaunchDecodeE5m2(const DecodeArgs& args, const DecodeLaunch& launch) {
  return LaunchDecodeFormats<KvCodecE5m2, KvCodecE5m2, 2>(args, launch);
}

}  // namespace baton::kernels::cuda
