// The decode attention kernel: the walk over a block's works, the merge of its warps, and the merge
// of an item's parts by whichever block finishes last.
#pragma once

#include <cstdint>

#include "kernels/attention/decode_chunk.cuh"
#include "kernels/cuda/launch.cuh"

namespace baton::kernels::cuda {

inline constexpr int kDecodeMaxWarps = 16;

// Shared memory of a block: rings, partial results of the warps, barriers.
template <typename T>
struct DecodeShared {
  static constexpr int kRow = T::kDim + 4;  // floats; spreads heads over banks

  int warps, stages, heads;

  __host__ __device__ size_t ring_bytes() const {
    return static_cast<size_t>(warps) * stages * T::kStageBytes;
  }
  __host__ __device__ size_t sums_floats() const {
    return static_cast<size_t>(warps) * heads * kRow;
  }
  __host__ __device__ size_t stats_floats() const { return static_cast<size_t>(warps) * heads * 4; }
  __host__ __device__ size_t bytes() const {
    return ring_bytes() + 4 * (sums_floats() + stats_floats()) +
           static_cast<size_t>(warps) * stages * sizeof(uint64_t);
  }
};

// Partial results side by side: sums [part][row_stride], statistics {max, sum, shift, -} [part].
struct DecodePartials {
  const float* sums;
  const float4* stats;
  int64_t sums_stride;   // floats from part to part
  int64_t stats_stride;  // float4s
  int parts;
};

// The four dimensions at `sums` of the merged result, and its statistics; parts in ascending order.
// kGlobal: other blocks' parts, read through L2; else warps' parts in shared memory.
template <bool kGlobal>
__device__ __forceinline__ float4 MergeParts(const DecodePartials& from, float4* merged) {
  const auto load = [](const float4* at) {
    if constexpr (kGlobal) return __ldcg(at);
    return *at;
  };
  float max = -1e30f;
#pragma unroll 16
  for (int p = 0; p < from.parts; ++p) max = fmaxf(max, load(&from.stats[p * from.stats_stride]).x);
  float4 o = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
  float sum = 0.0f;
  float shift = 0.0f;
#pragma unroll 8
  for (int p = 0; p < from.parts; ++p) {
    const float4 stats = load(&from.stats[p * from.stats_stride]);
    const float4 x = load(reinterpret_cast<const float4*>(from.sums + p * from.sums_stride));
    const float factor = Exp2(stats.x - max);
    o.x = fmaf(factor, x.x, o.x);
    o.y = fmaf(factor, x.y, o.y);
    o.z = fmaf(factor, x.z, o.z);
    o.w = fmaf(factor, x.w, o.w);
    sum = fmaf(factor, stats.y, sum);
    shift = fmaf(factor, stats.z, shift);
  }
  *merged = make_float4(max, sum, shift, 0.0f);
  return o;
}

// Query heads of a work's tile: first of all heads, and how many.
struct DecodeHeads {
  int first;
  int count;
};
__device__ __forceinline__ DecodeHeads HeadsOf(const DecodeArgs& args, int tile) {
  const int in_group = tile % args.tiles * kDecodeTileHeads;
  return {tile / args.tiles * args.heads + in_group, min(kDecodeTileHeads, args.heads - in_group)};
}

__device__ __forceinline__ void StoreOutput(const DecodeArgs& args, int64_t index, float4 o,
                                            const float4& stats) {
  const float inverse = __fdividef(1.0f, stats.y);
  o = make_float4((o.x + stats.z) * inverse, (o.y + stats.z) * inverse, (o.z + stats.z) * inverse,
                  (o.w + stats.z) * inverse);
  uint2 packed;
  if (args.bf16) {
    packed = make_uint2(Bf16::FromFloat2(o.x, o.y), Bf16::FromFloat2(o.z, o.w));
  } else {
    packed = make_uint2(Fp16::FromFloat2(o.x, o.y), Fp16::FromFloat2(o.z, o.w));
  }
  *reinterpret_cast<uint2*>(static_cast<uint16_t*>(args.out) + index) = packed;
}

// This warp's part of a work, to shared memory.
template <typename T>
__device__ __forceinline__ void StoreWarp(DecodeState<T>& state, float* sums, float4* stats,
                                          int heads, int g, int t) {
#pragma unroll
  for (int offset = 4; offset < 32; offset *= 2) {
#pragma unroll
    for (int j = 0; j < 2; ++j) {
      state.sum[j] += __shfl_xor_sync(0xFFFFFFFFu, state.sum[j], offset);
      state.shift[j] += __shfl_xor_sync(0xFFFFFFFFu, state.shift[j], offset);
    }
  }
  const float unit = state.unit();
#pragma unroll
  for (int j = 0; j < 2; ++j) {
    const int head = 2 * t + j;
    if (head >= heads) continue;
    float* row = sums + head * DecodeShared<T>::kRow + g * (T::kDim / 8);
#pragma unroll
    for (int i = 0; i < T::kDim / 16; i += 2) {
      *reinterpret_cast<float4*>(row + 2 * i) =
          make_float4(unit * state.acc[i][j], unit * state.acc[i][2 + j],
                      unit * state.acc[i + 1][j], unit * state.acc[i + 1][2 + j]);
    }
    if (g == 0) stats[head] = make_float4(state.max[j], state.sum[j], state.shift[j], 0.0f);
  }
}

// Merges the warps' parts into the output or into the work's slot; the block that fills an item's
// last slot merges the item. Called by all threads after StoreWarp and a barrier.
template <typename T>
__device__ void FinishWork(const DecodeArgs& args, const DecodeWork& work,
                           const DecodeShared<T>& shared, const float* sums, const float4* stats) {
  __shared__ bool last;
  const DecodeHeads heads = HeadsOf(args, work.tile);
  const int quads = heads.count * (T::kDim / 4);
  constexpr int64_t kSlot = DecodeSlotFloats(T::kDim);
  const int64_t out = work.sequence * args.out_stride + static_cast<int64_t>(heads.first) * T::kDim;
  float* slot = args.partials + work.slot * kSlot;
  for (int i = static_cast<int>(threadIdx.x); i < quads; i += static_cast<int>(blockDim.x)) {
    const int head = i / (T::kDim / 4);
    const int dim = i % (T::kDim / 4) * 4;
    float4 merged;
    const float4 o = MergeParts<false>({.sums = sums + head * DecodeShared<T>::kRow + dim,
                                        .stats = stats + head,
                                        .sums_stride = shared.heads * DecodeShared<T>::kRow,
                                        .stats_stride = shared.heads,
                                        .parts = shared.warps},
                                       &merged);
    if (work.parts == 1) {
      StoreOutput(args, out + head * T::kDim + dim, o, merged);
    } else {
      *reinterpret_cast<float4*>(slot + head * T::kDim + dim) = o;
      if (dim == 0) reinterpret_cast<float4*>(slot + kDecodeTileHeads * T::kDim)[head] = merged;
    }
  }
  if (work.parts == 1) return;
  __threadfence();
  __syncthreads();
  if (threadIdx.x == 0) last = atomicAdd(&args.counters[work.counter], 1) == work.parts - 1;
  __syncthreads();
  if (!last) return;
  __threadfence();
  const float* first = args.partials + work.first_slot * kSlot;
  for (int i = static_cast<int>(threadIdx.x); i < quads; i += static_cast<int>(blockDim.x)) {
    const int head = i / (T::kDim / 4);
    const int dim = i % (T::kDim / 4) * 4;
    float4 merged;
    const float4 o = MergeParts<true>(
        {.sums = first + head * T::kDim + dim,
         .stats = reinterpret_cast<const float4*>(first + kDecodeTileHeads * T::kDim) + head,
         .sums_stride = kSlot,
         .stats_stride = kSlot / 4,
         .parts = work.parts},
        &merged);
    StoreOutput(args, out + head * T::kDim + dim, o, merged);
  }
  if (threadIdx.x == 0) args.counters[work.counter] = 0;  // ready for the next launch
}

template <typename T>
__global__ void __launch_bounds__(32 * kDecodeMaxWarps, 1)
    DecodeKernel(const __grid_constant__ DecodeArgs args) {
  extern __shared__ __align__(128) std::byte memory[];
  const int warps = static_cast<int>(blockDim.x / 32);
  const int warp = static_cast<int>(threadIdx.x / 32);
  const int lane = static_cast<int>(threadIdx.x % 32);
  const int g = lane / 4;
  const int t = lane % 4;
  const DecodeShared<T> shared{warps, args.stages, min(args.heads, kDecodeTileHeads)};
  std::byte* ring = memory + static_cast<size_t>(warp) * args.stages * T::kStageBytes;
  float* sums = reinterpret_cast<float*>(memory + shared.ring_bytes());
  float4* stats = reinterpret_cast<float4*>(sums + shared.sums_floats());
  uint64_t* full = reinterpret_cast<uint64_t*>(stats + shared.stats_floats() / 4) +
                   static_cast<size_t>(warp) * args.stages;
  if (lane < args.stages) BarrierInit(full + lane, 1);
  FenceBarrierInit();
  __syncthreads();
  if (!args.early) WaitForPredecessor();

  DecodeLoader<T> loader(args, ring, full, warp, warps);
  for (int i = 0; i < args.stages; ++i) loader.Issue();
  WaitForPredecessor();
  AllowSuccessor();  // not earlier: a successor may count on our predecessor's having finished

  DecodeQuery<T> query;
  DecodeState<T> state;
  int stage = 0;
  uint32_t parity = 0;
  const int work_end = args.begin[blockIdx.x + 1];
  for (int w = args.begin[blockIdx.x]; w < work_end; ++w) {
    const DecodeWork work = args.works[w];
    const DecodeHeads heads = HeadsOf(args, work.tile);
    const uint16_t* q = static_cast<const uint16_t*>(args.q) + work.sequence * args.q_stride +
                        static_cast<int64_t>(heads.first + g) * T::kDim;
    query.Load(g < heads.count ? q : nullptr, args.bf16, args.scale_log2, t);
    state.Reset();
    for (int chunk = work.chunk_begin + warp; chunk < work.chunk_end; chunk += warps) {
      BarrierWait(full + stage, parity);
      DecodeChunk<T>(ring + static_cast<size_t>(stage) * T::kStageBytes, chunk * T::kTokens,
                     work.token_begin, work.token_end, query, g, t, state);
      __syncwarp();  // the stage has been read by all lanes
      loader.Issue();
      if (++stage == args.stages) {
        stage = 0;
        parity ^= 1;
      }
    }
    StoreWarp<T>(state, sums + static_cast<size_t>(warp) * shared.heads * DecodeShared<T>::kRow,
                 stats + warp * shared.heads, heads.count, g, t);
    __syncthreads();
    FinishWork<T>(args, work, shared, sums, stats);
    __syncthreads();  // the warps' parts have been read
  }
}

template <typename T>
cudaError_t LaunchDecodeTraits(const DecodeArgs& args, const DecodeLaunch& launch) {
  const DecodeShared<T> shared{launch.warps, args.stages, std::min(args.heads, kDecodeTileHeads)};
  const cudaError_t error =
      cudaFuncSetAttribute(DecodeKernel<T>, cudaFuncAttributeMaxDynamicSharedMemorySize,
                           static_cast<int>(shared.bytes()));
  if (error != cudaSuccess) return error;
  return Launch(
      DecodeKernel<T>,
      {.grid = dim3(launch.grid), .block = dim3(32 * launch.warps), .shared_bytes = shared.bytes()},
      launch.stream, args);
}

// The kernels of one pair of formats, for the chunk sizes that ChooseDecode gives them.
template <typename Key, typename Value, int kChunkBlocks>
cudaError_t LaunchDecodeFormats(const DecodeArgs& args, const DecodeLaunch& launch) {
  if (launch.chunk_tokens != 16 * kChunkBlocks) return cudaErrorInvalidValue;
  return args.kv.head_dim == 128
             ? LaunchDecodeTraits<DecodeTraits<Key, Value, 128, kChunkBlocks>>(args, launch)
             : LaunchDecodeTraits<DecodeTraits<Key, Value, 64, kChunkBlocks>>(args, launch);
}

}  // namespace baton::kernels::cuda
