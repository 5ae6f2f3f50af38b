// W4A16 for many tokens: wgmma with the weights as the 64-row operand, dequantized in registers,
// and the activations as the other, from shared memory.
//
// One thread issues copies: a stage of the ring is 128 of K, weights in their own order
// (int4_tiles.h) and activations in two swizzled halves. Each of kGroups warpgroups computes
// kBlocks · 64 rows × kTokens tokens; while one batch of wgmma runs, the codes of the next become
// its operands. Blocks are persistent: the ring runs on through the next tile while one is stored.
//
// Where tiles are few, K is shared: by kParts sets of warpgroups that take stages in turn, and by
// the blocks of a cluster. Their sums meet in shared memory and distributed shared memory, always
// in the same order.
//
// Rounding: a weight is scale · (code - zero) rounded to the activations' type (the scale too, if
// its type differs).
#pragma once

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/gemm/int4.cuh"
#include "kernels/gemm/kernel_shapes.h"
#include "kernels/gemm/tensor_copy.cuh"
#include "kernels/gemm/tile_sums.cuh"
#include "kernels/gemm/w4a16_kernels.h"
#include "kernels/gemm/w4a16_params.h"
#include "kernels/gemm/wgmma.cuh"

namespace baton::kernels::cuda {

template <typename T_, LargeVariant kVariant, bool kZeros_>
struct LargeShape {
  using T = T_;
  static constexpr int kTokens = kVariant.tokens;
  static constexpr int kGroups = kVariant.groups;  // warpgroups side by side in rows
  static constexpr int kBlocks = kVariant.blocks;  // of 64 rows, of a warpgroup
  static constexpr int kParts = kVariant.parts;    // of K, each with kGroups warpgroups
  static constexpr bool kZeros = kZeros_;
  static constexpr int kRows = kVariant.rows();
  static constexpr int kTiles = kRows / 16;
  static constexpr int kConsumers = 128 * kGroups * kParts;
  // Where accumulators need more registers than an even share, a whole warpgroup is set aside for
  // copies and gives its own up.
  static constexpr bool kShiftRegisters = kGroups * kParts == 2 && kBlocks * kTokens >= 256;
  static constexpr int kConsumerRegisters = 232;
  static constexpr int kProducerRegisters = 40;
  static constexpr int kThreads = kConsumers + (kShiftRegisters ? 128 : 32);
  static constexpr int kActivationBytes = kTokens * 256;  // of a stage: [2][kTokens][64 of K]
  static constexpr int kBlocksPerSm = kGroups * kParts == 1 ? 2 : 1;
  // k16 steps of one wgmma batch
  static constexpr int kBatch = kBlocks == 1 && kGroups * kParts < 4 ? 4 : 2;
  static constexpr int kChunk = kVariant.chunk();  // tokens stored at a time
  static constexpr int kChunkPitch = LargeVariant::kChunkPitch;
  static constexpr int kChunkBytes = kVariant.chunk_bytes();
  using Sums = TileSums<kRows, kTokens, kParts>;  // partial sums, over the ring
};

template <typename S>
struct LargeBlock {
  const W4A16LargeParams& p;
  uint8_t* ring;
  uint8_t* chunks;
  uint64_t* full;
  uint64_t* empty;
  int rank;                  // in the cluster
  int first_unit, end_unit;  // tiles of K of this rank

  __device__ uint8_t* Activations(int stage) const { return ring + stage * p.stage_bytes; }
  __device__ uint8_t* Weights(int stage) const { return Activations(stage) + S::kActivationBytes; }
  __device__ int Cluster() const { return static_cast<int>(blockIdx.x) / p.split; }
  __device__ int Clusters() const { return static_cast<int>(gridDim.x) / p.split; }
  __device__ int Items() const { return p.row_blocks * p.token_blocks; }

  struct Tile {
    int row_tile;  // the first of 16 rows
    int token;     // the first
  };
  // Groups of token blocks one after the other; within a group, tokens first, then rows.
  __device__ Tile At(int item) const {
    const int per_group = p.token_group * p.row_blocks;
    const int group = item / per_group;
    const int width = min(p.token_group, p.token_blocks - group * p.token_group);
    const int rest = item - group * per_group;
    return {rest / width * S::kTiles, (group * p.token_group + rest % width) * S::kTokens};
  }
};

// By one thread.
template <typename S>
__device__ __forceinline__ void LargeProduce(const LargeBlock<S>& b, const CUtensorMap* weights,
                                             const CUtensorMap* activations) {
  const int bytes = S::kActivationBytes + S::kTiles * b.p.tile_bytes;
  // Weights that other blocks of tokens read again are not the first to leave the L2.
  const uint64_t weight_hint = b.p.token_blocks == 1 ? kEvictFirst : kEvictNormal;
  const uint64_t activation_hint = b.p.keep_activations ? kEvictLast : kEvictNormal;
  const auto fetch_weights = [&](int stage, int row_tile, int unit) {
    BarrierArriveExpect(&b.full[stage], bytes);
    CopyBox(b.Weights(stage), weights, 0, unit, row_tile, &b.full[stage], weight_hint);
  };
  const auto fetch_activations = [&](int stage, int token, int unit) {
    CopyBox(b.Activations(stage), activations, 0, token, unit * 2, &b.full[stage], activation_hint);
  };
  // Weights of the first stages do not wait for the work before this.
  const int ahead = min(b.end_unit - b.first_unit, b.p.stages);
  const auto first = b.At(b.Cluster());
  for (int i = 0; i < ahead; ++i) fetch_weights(i, first.row_tile, b.first_unit + i);
  WaitForPredecessor();
  RingPosition at;
  int count = 0;
  for (int item = b.Cluster(); item < b.Items(); item += b.Clusters()) {
    const auto tile = b.At(item);
    for (int unit = b.first_unit; unit < b.end_unit; ++unit, ++count, at.Next(b.p.stages)) {
      if (count >= ahead) {
        BarrierWait(&b.empty[at.stage], at.parity ^ 1);
        fetch_weights(at.stage, tile.row_tile, unit);
      }
      fetch_activations(at.stage, tile.token, unit);
    }
  }
}

template <typename S>
struct LargeConsumer {
  using T = typename S::T;
  using Decoder = Int4<T>;
  static constexpr int kAccumulators = S::kTokens / 2;

  const LargeBlock<S>& b;
  const int group = threadIdx.x / 128 % S::kGroups;
  const int part = threadIdx.x / 128 / S::kGroups;
  const int warp = threadIdx.x / 32 % 4;
  const int lane = threadIdx.x % 32;

  __device__ void Release(int stage) const {
    if (lane == 0) BarrierArrive(&b.empty[stage]);
  }

  struct Group {  // what turns codes of one scale group into weights
    uint32_t scale[2];
    typename Decoder::Zeros zeros;
  };
  template <int kScaleGroups>
  __device__ void LoadGroup(const uint8_t* tile, int j, Group& g) const {
    const uint16_t* s = reinterpret_cast<const uint16_t*>(tile + 1024) + j * 16 + lane / 4;
    g.scale[0] = Decoder::Scale(s[0], b.p.scale_bf16);
    g.scale[1] = Decoder::Scale(s[8], b.p.scale_bf16);
    if constexpr (S::kZeros) {
      const uint8_t* z = tile + 1024 + kScaleGroups * 32 + j * 16 + lane / 4;
      g.zeros = Decoder::Prepare(z[0], z[8]);
    }
  }

  // The codes of one stage: adds their product to d, or starts it where there was no stage before
  // (previous < 0). Leaves the last batch running.
  template <int kScaleGroups>
  __device__ void Stage(float (&d)[S::kBlocks][kAccumulators], int stage, int previous) const {
    const uint8_t* tiles[S::kBlocks];
    uint32_t words[S::kBlocks][8];
    Group g[S::kBlocks];
#pragma unroll
    for (int m = 0; m < S::kBlocks; ++m) {
      tiles[m] = b.Weights(stage) + ((group * S::kBlocks + m) * 4 + warp) * b.p.tile_bytes;
      const uint4 low = *reinterpret_cast<const uint4*>(tiles[m] + lane * 16);
      const uint4 high = *reinterpret_cast<const uint4*>(tiles[m] + 512 + lane * 16);
      words[m][0] = low.x, words[m][1] = low.y, words[m][2] = low.z, words[m][3] = low.w;
      words[m][4] = high.x, words[m][5] = high.y, words[m][6] = high.z, words[m][7] = high.w;
    }
    constexpr int kSteps = 8 / kScaleGroups;  // of a scale group
    const uint64_t x = WgmmaDescriptor(SharedAddress(b.Activations(stage)));
    uint32_t a[2][S::kBatch][S::kBlocks][4];
#pragma unroll
    for (int batch = 0; batch < 8 / S::kBatch; ++batch) {
#pragma unroll
      for (int i = 0; i < S::kBatch; ++i) {
        const int step = batch * S::kBatch + i;
#pragma unroll
        for (int m = 0; m < S::kBlocks; ++m) {
          if (step % kSteps == 0) LoadGroup<kScaleGroups>(tiles[m], step / kSteps, g[m]);
          uint32_t(&w)[4] = a[batch % 2][i][m];
          Decoder::Decode(words[m][step], g[m].zeros, w);
#pragma unroll
          for (int r = 0; r < 4; ++r) w[r] = Decoder::Multiply(w[r], g[m].scale[r % 2]);
        }
      }
      WgmmaFence();
#pragma unroll
      for (int i = 0; i < S::kBatch; ++i) {
        const int step = batch * S::kBatch + i;
        const uint64_t operand =
            WgmmaAdvance(x, step / 4 * (S::kActivationBytes / 2) + step % 4 * 32);
#pragma unroll
        for (int m = 0; m < S::kBlocks; ++m) {
          WgmmaRs<T, S::kTokens>(d[m], a[batch % 2][i][m], operand, previous >= 0 || step > 0);
        }
      }
      WgmmaCommit();
      WgmmaWait<1>();  // the batch before this one, whose registers are filled next
      if (batch == 0 && previous >= 0) Release(previous);
    }
  }

  __device__ void Run() {
    if (b.p.scale_groups == 1) {
      RunGroups<1>();
    } else if (b.p.scale_groups == 2) {
      RunGroups<2>();
    } else {
      RunGroups<4>();
    }
  }

  template <int kScaleGroups>
  __device__ void RunGroups() {
    RingPosition at;
    float d[S::kBlocks][kAccumulators];
    for (int item = b.Cluster(); item < b.Items(); item += b.Clusters()) {
      int previous = -1;
      for (int unit = b.first_unit; unit < b.end_unit; ++unit, at.Next(b.p.stages)) {
        if (S::kParts > 1 && (unit - b.first_unit) % S::kParts != part) continue;
        BarrierWait(&b.full[at.stage], at.parity);
        Stage<kScaleGroups>(d, at.stage, previous);
        previous = at.stage;
      }
      WgmmaWait<0>();
      Release(previous);
      const auto tile = b.At(item);
      if (S::kParts > 1 || b.p.split > 1) {
        Share(d);
      } else {
        Store(d, tile.row_tile * 16, tile.token);
      }
    }
  }

  // Through shared memory, 64 rows × kChunk tokens at a time: a token's 64 rows are one 128-byte
  // line.
  __device__ void Store(const float (&d)[S::kBlocks][kAccumulators], int first_row,
                        int first_token) const {
    uint8_t* chunk = b.chunks + group * S::kChunk * S::kChunkPitch;
    const uint32_t mine = SharedAddress(chunk) + (lane / 16 * 8 + lane % 8) * S::kChunkPitch +
                          warp * 32 + lane / 8 % 2 * 16;
#pragma unroll
    for (int m = 0; m < S::kBlocks; ++m) {
      const int row0 = first_row + (group * S::kBlocks + m) * 64;
      float2 bias = Bias(row0 + warp * 16 + lane / 4);
#pragma unroll
      for (int c = 0; c < S::kTokens / S::kChunk; ++c) {
        NamedBarrierSync(1 + group, 128);
#pragma unroll
        for (int j = 0; j < S::kChunk / 16; ++j) {
          const float* v = d[m] + (c * S::kChunk + j * 16) / 2;
          StoreMatrix4Transposed(mine + j * 16 * S::kChunkPitch,
                                 T::FromFloat2(v[0] + bias.x, v[1] + bias.x),
                                 T::FromFloat2(v[2] + bias.y, v[3] + bias.y),
                                 T::FromFloat2(v[4] + bias.x, v[5] + bias.x),
                                 T::FromFloat2(v[6] + bias.y, v[7] + bias.y));
        }
        NamedBarrierSync(1 + group, 128);
        if (row0 >= b.p.n) continue;
        const int part = threadIdx.x % 8;
        for (int t = threadIdx.x % 128 / 8; t < S::kChunk; t += 16) {
          const int token = first_token + c * S::kChunk + t;
          if (token >= b.p.m) break;
          *reinterpret_cast<uint4*>(b.p.out + (token * b.p.ldo + row0) * 2 + part * 16) =
              *reinterpret_cast<const uint4*>(chunk + t * S::kChunkPitch + part * 16);
        }
      }
    }
  }

  // Of rows r and r + 8; 0 without a bias.
  __device__ float2 Bias(int row) const {
    if (b.p.bias == nullptr || row + 8 >= b.p.n) return make_float2(0.0f, 0.0f);
    const auto* bias = reinterpret_cast<const typename T::Value*>(b.p.bias);
    return make_float2(T::ToFloat(bias[row]), T::ToFloat(bias[row + 8]));
  }

  __device__ float* Shares() const { return reinterpret_cast<float*>(b.ring); }

  // This rank's partial sums, over the ring, which is no longer used.
  __device__ void Share(const float (&d)[S::kBlocks][kAccumulators]) const {
    NamedBarrierSync(1, S::kConsumers);
    const int tokens = b.p.m - b.At(b.Cluster()).token;
#pragma unroll
    for (int m = 0; m < S::kBlocks; ++m) {
      S::Sums::Write(Shares(), d[m], part, (group * S::kBlocks + m) * 64, tokens);
    }
  }
  // This rank's part of the tile, summed over the ranks in their order.
  __device__ void StoreShares() const {
    const auto tile = b.At(b.Cluster());
    const int tokens = min(S::kTokens, b.p.m - tile.token);
    S::Sums::ForEachSum(
        Shares(), tokens, b.p.split, b.rank, S::kConsumers, [&](int token, int row, float4 sum) {
          const int n = tile.row_tile * 16 + row;
          if (n >= b.p.n) return;
          if (b.p.bias != nullptr) {
            const uint2 bias = *reinterpret_cast<const uint2*>(b.p.bias + n * 2);
            const float2 low = T::ToFloat2(bias.x);
            const float2 high = T::ToFloat2(bias.y);
            sum.x += low.x, sum.y += low.y, sum.z += high.x, sum.w += high.y;
          }
          *reinterpret_cast<uint2*>(b.p.out + ((tile.token + token) * b.p.ldo + n) * 2) =
              make_uint2(T::FromFloat2(sum.x, sum.y), T::FromFloat2(sum.z, sum.w));
        });
  }
};

template <typename S>
__global__ void __launch_bounds__(S::kThreads, S::kBlocksPerSm)
    W4A16LargeKernel(const __grid_constant__ CUtensorMap weights,
                     const __grid_constant__ CUtensorMap activations, const W4A16LargeParams p) {
  extern __shared__ uint8_t shared[];
  LargeBlock<S> block = {.p = p};
  block.ring = shared + (1024 - SharedAddress(shared) % 1024) % 1024;
  block.chunks = block.Activations(p.stages);
  block.full = reinterpret_cast<uint64_t*>(block.chunks + S::kChunkBytes);
  block.empty = block.full + p.stages;
  block.rank = p.split > 1 ? static_cast<int>(ClusterRank()) : 0;
  block.first_unit = block.rank * p.k_tiles / p.split;
  block.end_unit = (block.rank + 1) * p.k_tiles / p.split;

  if (threadIdx.x == 0) {
    for (int i = 0; i < p.stages; ++i) {
      BarrierInit(&block.full[i], 1);
      BarrierInit(&block.empty[i], S::kGroups * 4);
    }
    FenceBarrierInit();
    PrefetchTensorMap(&weights);
    PrefetchTensorMap(&activations);
  }
  __syncthreads();
  AllowSuccessor();
  if (threadIdx.x >= S::kConsumers) {
    if constexpr (S::kShiftRegisters)
      asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(S::kProducerRegisters));
    if (threadIdx.x == S::kConsumers) LargeProduce(block, &weights, &activations);
    __syncwarp();
    if (p.split > 1) ClusterSync();
    if (p.split > 1) ClusterSync();
  } else {
    if constexpr (S::kShiftRegisters)
      asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(S::kConsumerRegisters));
    LargeConsumer<S> consumer{.b = block};
    consumer.Run();
    if (p.split > 1) {
      ClusterSync();
      consumer.StoreShares();
    } else if (S::kParts > 1) {
      NamedBarrierSync(1, S::kConsumers);
      consumer.StoreShares();
    }
    if (p.split > 1) ClusterSync();  // shared memory stays until the others are done with it
  }
}

template <typename T, LargeVariant kVariant, bool kZeros>
cudaError_t LaunchW4A16Large(const LaunchShape& shape, cudaStream_t stream,
                             const CUtensorMap& weights, const CUtensorMap& activations,
                             const W4A16LargeParams& params) {
  using S = LargeShape<T, kVariant, kZeros>;
  const auto kernel = W4A16LargeKernel<S>;
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

template <LargeVariant kVariant>
constexpr LargeLaunchers LargeLaunchersOf() {
  return {kVariant,
          {{LaunchW4A16Large<Fp16, kVariant, false>, LaunchW4A16Large<Fp16, kVariant, true>},
           {LaunchW4A16Large<Bf16, kVariant, false>, LaunchW4A16Large<Bf16, kVariant, true>}}};
}

}  // namespace baton::kernels::cuda
