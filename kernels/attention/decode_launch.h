// Between decode_cuda.cc (checks, dispatch) and the kernel's instantiations (decode_*.cu).
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/attention/decode_plan.h"
#include "kernels/kv_page/view.h"

namespace baton::kernels::cuda {

// What the kernel gets.
struct DecodeArgs {
  const void* q = nullptr;
  int64_t q_stride = 0;
  void* out = nullptr;
  int64_t out_stride = 0;
  bool bf16 = false;  // type of q and out
  int heads = 0;      // query heads per KV head
  int tiles = 0;      // of query heads per KV head
  float scale_log2 = 0.0f;
  PagedKvView kv;
  const int32_t* page_table = nullptr;
  int64_t page_table_stride = 0;
  const int32_t* begin = nullptr;  // [grid + 1]
  const DecodeWork* works = nullptr;
  float* partials =
      nullptr;  // slot: [kDecodeTileHeads][head_dim] sums, [heads]{max, sum, shift, -}
  int32_t* counters = nullptr;  // [grid], zero between launches
  int stages = 0;
  bool early = false;  // DecodeAttentionParams::overlaps_predecessor
};

constexpr int64_t DecodeSlotFloats(int head_dim) {
  return int64_t{kDecodeTileHeads} * (head_dim + 4);
}

struct DecodeLaunch {
  int grid = 0;
  int warps = 0;
  int chunk_tokens = 0;
  cudaStream_t stream = nullptr;
};

// One per pair of formats; each has the kernel for head dimensions 64 and 128.
cudaError_t LaunchDecodeFp16(const DecodeArgs& args, const DecodeLaunch& launch);
cudaError_t LaunchDecodeBf16(const DecodeArgs& args, const DecodeLaunch& launch);
cudaError_t LaunchDecodeE4m3(const DecodeArgs& args, const DecodeLaunch& launch);
cudaError_t LaunchDecodeE5m2(const DecodeArgs& args, const DecodeLaunch& launch);
cudaError_t LaunchDecodeInt8(const DecodeArgs& args, const DecodeLaunch& launch);
cudaError_t LaunchDecodeInt4(const DecodeArgs& args, const DecodeLaunch& launch);
cudaError_t LaunchDecodeK8v4(const DecodeArgs& args, const DecodeLaunch& launch);

}  // namespace baton::kernels::cuda
