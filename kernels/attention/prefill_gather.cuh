// Expands keys and values of a batch from resident pages of any format to pages of 128 tokens in a
// 16-bit type: the form in which the prefill kernel reads them.
#pragma once

#include "kernels/attention/prefill_plan.h"
#include "kernels/cuda/numeric.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/kv_page/codec.cuh"

namespace baton::kernels::cuda {

// One of K and V of one layer.
struct PrefillGatherTensor {
  const std::byte* codes = nullptr;   // of page 0, head 0, token 0
  const std::byte* scales = nullptr;  // likewise; null where the format has none
  std::byte* out = nullptr;           // of workspace page 0, head 0, token 0
  KvFormat format = KvFormat::kFp16;
};

struct PrefillGatherLaunch {
  PrefillGatherTensor tensors[2];
  const PrefillGather* gathers = nullptr;  // [blocks]
  uint64_t page_bytes = 0;                 // resident
  uint64_t out_page_bytes = 0;
  int page_shift = 0;
};

inline constexpr int kGatherThreads = 256;

template <typename T>
__device__ __forceinline__ uint32_t SaturatedPair(float low, float high) {
  if constexpr (T::kType == ActivationType::kFp16) {
    return Fp16FromFloat(low) | static_cast<uint32_t>(Fp16FromFloat(high)) << 16;
  } else {
    return Bf16FromFloat(low) | static_cast<uint32_t>(Bf16FromFloat(high)) << 16;
  }
}

template <typename T, typename Codec>
__device__ __forceinline__ void GatherLane(const std::byte* codes, const std::byte* scales,
                                           uint32_t (&pairs)[8]) {
  uint32_t words[Codec::kLaneWords];
#pragma unroll
  for (int i = 0; i < Codec::kLaneWords; ++i) {
    words[i] = __ldg(reinterpret_cast<const uint32_t*>(codes) + i);
  }
  uint32_t scale = 0;
  if constexpr (Codec::kScaleBytes == 2) scale = __ldg(reinterpret_cast<const uint16_t*>(scales));
  if constexpr (Codec::kScaleBytes == 4) scale = __ldg(reinterpret_cast<const uint32_t*>(scales));
  float x[kKvLaneValues];
  Codec::Decode(words, scale, x);
#pragma unroll
  for (int i = 0; i < 8; ++i) pairs[i] = SaturatedPair<T>(x[2 * i], x[2 * i + 1]);
}

// Grid: (blocks of tokens, KV heads, K and V).
template <typename T, int kDim>
__global__ void __launch_bounds__(kGatherThreads)
    PrefillGatherKernel(const __grid_constant__ PrefillGatherLaunch p) {
  WaitForPredecessor();
  AllowSuccessor();
  const PrefillGather block = p.gathers[blockIdx.x];
  const int head = static_cast<int>(blockIdx.y);
  const PrefillGatherTensor& tensor = p.tensors[blockIdx.z];
  constexpr int kLanes = kDim / kKvLaneValues;  // of a token
  const int start = block.begin - block.begin % kPrefillBlockTokens;
  const int page_tokens = 1 << p.page_shift;
  WithKvCodec(tensor.format, [&](auto codec) {
    using Codec = decltype(codec);
#pragma unroll
    for (int i = static_cast<int>(threadIdx.x); i < kPrefillBlockTokens * kLanes;
         i += kGatherThreads) {
      const int token = start + i / kLanes;
      uint32_t pairs[8] = {};
      if (token >= block.begin && token < block.end) {
        const std::byte* page = tensor.codes + block.pages[token >> p.page_shift] * p.page_bytes;
        const int group = (head << p.page_shift) + (token & (page_tokens - 1));
        const std::byte* scales = tensor.scales + (page - tensor.codes) +
                                  static_cast<int64_t>(group) * Codec::kScaleBytes;
        GatherLane<T, Codec>(
            page + (static_cast<int64_t>(group) * kDim + i % kLanes * 16) * Codec::kBits / 8,
            scales, pairs);
      }
      uint4* out = reinterpret_cast<uint4*>(
          tensor.out + block.page * p.out_page_bytes +
          ((static_cast<int64_t>(head) * kPrefillBlockTokens + i / kLanes) * kDim +
           i % kLanes * 16) *
              2);
      out[0] = make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
      out[1] = make_uint4(pairs[4], pairs[5], pairs[6], pairs[7]);
    }
  });
}

}  // namespace baton::kernels::cuda
