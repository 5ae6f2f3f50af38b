// W4A16 for few tokens: the weights are streamed once, in their own order, by the copy engine.
//
// A block takes kTiles tiles of 16 rows at a time over its whole range of K (all of K, or the share
// of its rank in a cluster) and goes on to the next such pass. One thread only issues copies: a
// stage of the ring holds kWarps tiles of K for each row tile, and the activations beside them.
// Warp w computes the w-th of them, weights as the 16-row operand of m16n8k16, so that the block's
// warps split K; their sums meet in shared memory at the end of a pass, and those of a cluster in
// distributed shared memory, always in the same order.
//
// Weights do not depend on the work before this in the stream: the ring is filled with them before
// the wait for it. Two grids fit on an SM, so the next product's weights arrive while this one
// ends.
#pragma once

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/gemm/int4.cuh"
#include "kernels/gemm/kernel_shapes.h"
#include "kernels/gemm/tensor_copy.cuh"
#include "kernels/gemm/w4a16_kernels.h"
#include "kernels/gemm/w4a16_params.h"

namespace baton::kernels::cuda {

template <typename T_, SmallVariant kVariant, bool kZeros_>
struct SmallShape {
  using T = T_;
  static constexpr int kTokens = kVariant.tokens;
  static constexpr int kTokenTiles = kTokens / 8;
  static constexpr int kTiles = kVariant.tiles;
  static constexpr int kWarps = kVariant.warps;
  static constexpr bool kZeros = kZeros_;
  static constexpr int kThreads = 32 * (kWarps + 1);
  static constexpr int kBlocksPerSm = kWarps <= 8 && kTiles * kTokenTiles <= 8 ? 2 : 1;
  static constexpr int kChunk = kVariant.chunk();
  static constexpr int kSumPitch = kChunk * 16 + 4;  // floats of a token's row of sums
  static constexpr int kSumBytes = kVariant.sum_bytes();
};

// What a thread needs to know of the block's work; all uniform.
template <typename S>
struct SmallBlock {
  const W4A16SmallParams& p;
  uint8_t* ring;
  float* sums;    // [kWarps][kTokens][kSumPitch]
  float* shares;  // [kTokens][kTiles * 16] of this rank; cluster only
  uint64_t* full;
  uint64_t* empty;
  int first_unit, end_unit;  // tiles of K of this rank
  int iterations;            // stages a pass

  __device__ int FirstTile(int pass) const {
    return (static_cast<int>(blockIdx.x) / p.split +
            pass * (static_cast<int>(gridDim.x) / p.split)) *
           S::kTiles;
  }
  // [2 * kWarps][m tokens][64 of K], swizzled
  __device__ uint8_t* Activations(int stage) const { return ring + stage * p.stage_bytes; }
  // [kTiles][kWarps] tiles
  __device__ uint8_t* Weights(int stage) const {
    return ring + stage * p.stage_bytes + S::kWarps * 256 * p.m;
  }
};

// By one thread.
template <typename S>
__device__ __forceinline__ void SmallProduce(const SmallBlock<S>& b, const CUtensorMap* weights,
                                             const CUtensorMap* activations) {
  const int bytes = S::kWarps * (256 * b.p.m + S::kTiles * b.p.tile_bytes);
  const int total = b.p.passes * b.iterations;
  const int ahead = min(total, b.p.stages);
  int stage = 0, iteration = 0, pass = 0;
  const auto fetch_weights = [&] {
    BarrierArriveExpect(&b.full[stage], bytes);
    CopyBox(b.Weights(stage), weights, 0, b.first_unit + iteration * S::kWarps, b.FirstTile(pass),
            &b.full[stage], kEvictFirst);
  };
  const auto fetch_activations = [&] {
    CopyBox(b.Activations(stage), activations, 0, 0, (b.first_unit + iteration * S::kWarps) * 2,
            &b.full[stage], kEvictLast);
  };
  const auto next = [&] {
    if (++stage == b.p.stages) stage = 0;
    if (++iteration == b.iterations) iteration = 0, ++pass;
  };
  for (int i = 0; i < ahead; ++i, next()) fetch_weights();
  WaitForPredecessor();
  stage = iteration = pass = 0;
  for (int i = 0; i < ahead; ++i, next()) fetch_activations();
  uint32_t parity = 0;
  for (int i = ahead; i < total; ++i, next()) {
    BarrierWait(&b.empty[stage], parity);
    fetch_weights();
    fetch_activations();
    if (stage == b.p.stages - 1) parity ^= 1;
  }
}

template <typename S>
struct SmallConsumer {
  using T = typename S::T;
  const SmallBlock<S>& b;
  const int warp = threadIdx.x / 32;
  const int lane = threadIdx.x % 32;
  float total[S::kTiles][S::kTokenTiles][4];  // rows r, r + 8; tokens 2c, 2c + 1

  // One tile of 16 rows × 128: x holds the activations' operands. Straight code for each number of
  // scale groups, with two chains of products where there would be one.
  template <int kScaleGroups>
  __device__ void Tile(float (&sum)[S::kTokenTiles][4], const uint8_t* tile,
                       const uint32_t (&x)[4][S::kTokenTiles][4]) const {
    constexpr int kSteps = 8 / kScaleGroups;
    constexpr int kChains = S::kTokenTiles == 1 ? 2 : 1;
    const uint4 low = *reinterpret_cast<const uint4*>(tile + lane * 16);
    const uint4 high = *reinterpret_cast<const uint4*>(tile + 512 + lane * 16);
    const uint32_t words[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
    const uint16_t* scales = reinterpret_cast<const uint16_t*>(tile + 1024) + lane / 4;
    const uint8_t* zeros = tile + 1024 + kScaleGroups * 32 + lane / 4;
#pragma unroll
    for (int g = 0; g < kScaleGroups; ++g) {
      const float s0 = ScaleFromBits(scales[g * 16], b.p.scale_bf16);
      const float s1 = ScaleFromBits(scales[g * 16 + 8], b.p.scale_bf16);
      typename Int4<T>::Zeros z;
      if constexpr (S::kZeros) z = Int4<T>::Prepare(zeros[g * 16], zeros[g * 16 + 8]);
      float partial[kChains][S::kTokenTiles][4] = {};
#pragma unroll
      for (int i = 0; i < kSteps; ++i) {
        const int step = g * kSteps + i;
        uint32_t a[4];
        Int4<T>::Decode(words[step], z, a);
#pragma unroll
        for (int n = 0; n < S::kTokenTiles; ++n) {
          const uint32_t(&operands)[4] = x[step / 2][n];
          const uint32_t operand[2] = {operands[step % 2 * 2], operands[step % 2 * 2 + 1]};
          Mma(T(), partial[i % kChains][n], a, operand);
        }
      }
#pragma unroll
      for (int n = 0; n < S::kTokenTiles; ++n) {
#pragma unroll
        for (int i = 0; i < 4; ++i) {
          float part = partial[0][n][i];
          if constexpr (kChains == 2) part += partial[1][n][i];
          sum[n][i] = fmaf(part, i < 2 ? s0 : s1, sum[n][i]);
        }
      }
    }
  }

  template <int kScaleGroups>
  __device__ void Stage(int stage) {
    uint32_t x[4][S::kTokenTiles][4];
    const uint32_t activations = SharedAddress(b.Activations(stage));
#pragma unroll
    for (int n = 0; n < S::kTokenTiles; ++n) {
      // Tokens beyond the last repeat it: their columns are not stored.
      const int token = min(n * 8 + lane % 8, b.p.m - 1);
#pragma unroll
      for (int j = 0; j < 4; ++j) {
        const int row = (warp * 2 + j / 2) * b.p.m + token;
        const int column = (j % 2 * 4 + lane / 8) ^ (row & 7);
        LoadMatrix4(x[j][n], activations + row * 128 + column * 16);
      }
    }
    const uint8_t* tile = b.Weights(stage) + warp * b.p.tile_bytes;
#pragma unroll
    for (int t = 0; t < S::kTiles; ++t) {
      Tile<kScaleGroups>(total[t], tile + t * S::kWarps * b.p.tile_bytes, x);
    }
  }

  __device__ void Run() {
    int stage = 0;
    uint32_t parity = 0;
    for (int pass = 0; pass < b.p.passes; ++pass) {
#pragma unroll
      for (int t = 0; t < S::kTiles; ++t) {
#pragma unroll
        for (int n = 0; n < S::kTokenTiles; ++n) {
#pragma unroll
          for (int i = 0; i < 4; ++i) total[t][n][i] = 0.0f;
        }
      }
      for (int i = 0; i < b.iterations; ++i) {
        BarrierWait(&b.full[stage], parity);
        if (b.first_unit + i * S::kWarps + warp >= b.end_unit) {
          // beyond this rank's share
        } else if (b.p.scale_groups == 1) {
          Stage<1>(stage);
        } else if (b.p.scale_groups == 2) {
          Stage<2>(stage);
        } else {
          Stage<4>(stage);
        }
        __syncwarp();
        if (lane == 0) BarrierArrive(&b.empty[stage]);
        if (++stage == b.p.stages) stage = 0, parity ^= 1;
      }
      Reduce(b.FirstTile(pass));
    }
  }

  __device__ void Sync() const { asm volatile("bar.sync 1, %0;" ::"n"(32 * S::kWarps) : "memory"); }

  // Adds the warps' sums, a chunk of row tiles at a time, and stores them (or the rank's share).
  __device__ void Reduce(int first_tile) const {
#pragma unroll
    for (int c = 0; c < S::kTiles; c += S::kChunk) {
      float* mine = b.sums + warp * S::kTokens * S::kSumPitch;
#pragma unroll
      for (int t = c; t < c + S::kChunk && t < S::kTiles; ++t) {
#pragma unroll
        for (int n = 0; n < S::kTokenTiles; ++n) {
#pragma unroll
          for (int i = 0; i < 4; ++i) {
            const int token = n * 8 + lane % 4 * 2 + i % 2;
            mine[token * S::kSumPitch + (t - c) * 16 + lane / 4 + i / 2 * 8] = total[t][n][i];
          }
        }
      }
      Sync();
      constexpr int kPairs = S::kChunk * 8;
      for (int e = threadIdx.x; e < b.p.m * kPairs; e += 32 * S::kWarps) {
        const int token = e / kPairs;
        const int row = e % kPairs * 2;
        if (c + row / 16 >= S::kTiles) continue;
        float2 sum = make_float2(0.0f, 0.0f);
#pragma unroll
        for (int w = 0; w < S::kWarps; ++w) {
          const float2 x = *reinterpret_cast<const float2*>(
              b.sums + (w * S::kTokens + token) * S::kSumPitch + row);
          sum.x += x.x, sum.y += x.y;
        }
        if (b.p.split > 1) {
          *reinterpret_cast<float2*>(b.shares + token * S::kTiles * 16 + c * 16 + row) = sum;
        } else {
          Store(token, first_tile * 16 + c * 16 + row, sum);
        }
      }
      Sync();
    }
  }

  __device__ void Store(int token, int row, float2 sum) const {
    if (row >= b.p.n) return;
    if (b.p.bias != nullptr) {
      const float2 bias = T::ToFloat2(*reinterpret_cast<const uint32_t*>(b.p.bias + row * 2));
      sum.x += bias.x, sum.y += bias.y;
    }
    *reinterpret_cast<uint32_t*>(b.p.out + (token * b.p.ldo + row) * 2) =
        T::FromFloat2(sum.x, sum.y);
  }

  // This rank's part of the rows, summed over the ranks in their order.
  __device__ void StoreShares(int first_tile) const {
    const int pairs = b.p.m * S::kTiles * 8;
    const int rank = static_cast<int>(ClusterRank());
    for (int e = rank * 32 * S::kWarps + threadIdx.x; e < pairs; e += b.p.split * 32 * S::kWarps) {
      float2 sum = make_float2(0.0f, 0.0f);
      for (int r = 0; r < b.p.split; ++r) {
        const float2 x = LoadRemote2(b.shares + 2 * e, r);
        sum.x += x.x, sum.y += x.y;
      }
      Store(e / (S::kTiles * 8), first_tile * 16 + e % (S::kTiles * 8) * 2, sum);
    }
  }
};

template <typename S>
__global__ void __launch_bounds__(S::kThreads, S::kBlocksPerSm)
    W4A16SmallKernel(const __grid_constant__ CUtensorMap weights,
                     const __grid_constant__ CUtensorMap activations, const W4A16SmallParams p) {
  extern __shared__ uint8_t raw[];
  uint8_t* shared = raw + (1024 - SharedAddress(raw) % 1024) % 1024;
  const int rank = static_cast<int>(blockIdx.x) % p.split;
  uint8_t* tail = shared + p.stages * p.stage_bytes;
  SmallBlock<S> block = {.p = p, .ring = shared};
  block.sums = reinterpret_cast<float*>(tail);
  block.shares = reinterpret_cast<float*>(tail + S::kSumBytes);
  uint8_t* barriers = tail + S::kSumBytes + (p.split > 1 ? S::kTokens * S::kTiles * 64 : 0);
  block.full = reinterpret_cast<uint64_t*>(barriers);
  block.empty = block.full + p.stages;
  block.first_unit = rank * p.k_tiles / p.split;
  block.end_unit = (rank + 1) * p.k_tiles / p.split;
  block.iterations = (block.end_unit - block.first_unit + S::kWarps - 1) / S::kWarps;

  if (threadIdx.x == 0) {
    for (int i = 0; i < p.stages; ++i) {
      BarrierInit(&block.full[i], 1);
      BarrierInit(&block.empty[i], S::kWarps);
    }
    FenceBarrierInit();
    PrefetchTensorMap(&weights);
    PrefetchTensorMap(&activations);
  }
  __syncthreads();
  AllowSuccessor();
  const bool produces = threadIdx.x / 32 == S::kWarps;
  if (produces) {
    if (threadIdx.x % 32 == 0) SmallProduce(block, &weights, &activations);
    __syncwarp();
  } else {
    SmallConsumer<S>{.b = block}.Run();
  }
  if (p.split > 1) {
    ClusterSync();
    if (!produces) SmallConsumer<S>{.b = block}.StoreShares(block.FirstTile(0));
    ClusterSync();  // shares stay until the others have read them
  }
}

template <typename T, SmallVariant kVariant, bool kZeros>
cudaError_t LaunchW4A16Small(const LaunchShape& shape, cudaStream_t stream,
                             const CUtensorMap& weights, const CUtensorMap& activations,
                             const W4A16SmallParams& params) {
  using S = SmallShape<T, kVariant, kZeros>;
  const auto kernel = W4A16SmallKernel<S>;
  if (const cudaError_t error =
          cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shape.shared_bytes));
      error != cudaSuccess) {
    return error;
  }
  LaunchShape with_block = shape;
  with_block.block = dim3(S::kThreads);
  return Launch(kernel, with_block, stream, weights, activations, params);
}

template <SmallVariant kVariant>
constexpr SmallLaunchers SmallLaunchersOf() {
  return {kVariant,
          {{LaunchW4A16Small<Fp16, kVariant, false>, LaunchW4A16Small<Fp16, kVariant, true>},
           {LaunchW4A16Small<Bf16, kVariant, false>, LaunchW4A16Small<Bf16, kVariant, true>}}};
}

}  // namespace baton::kernels::cuda
