// FP8 W8A8 for few tokens: wgmma with the weights as the 64-row operand and the tokens as the
// other, both as e4m3 from shared memory, brought by tensor maps. out = sum · weight scale · token
// scale.
//
// One warp issues copies, 128 of K a stage; kGroups warpgroups compute 64 rows each. Weights do not
// depend on the work before this in the stream: the ring is filled with them before the wait for
// it. Where row blocks are fewer than multiprocessors, the blocks of a cluster share K.
//
// kExact: the tensor core's short accumulator holds 128 of K at a time, fp32 the rest; else all.
#pragma once

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/numeric.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/gemm/fp8_kernels.h"
#include "kernels/gemm/fp8_params.h"
#include "kernels/gemm/kernel_shapes.h"
#include "kernels/gemm/tensor_copy.cuh"
#include "kernels/gemm/tile_sums.cuh"
#include "kernels/gemm/wgmma.cuh"

namespace baton::kernels::cuda {

template <typename T_, Fp8Variant kVariant, bool kExact_>
struct Fp8Shape {
  using T = T_;
  static constexpr int kTokens = kVariant.tokens;
  static constexpr int kGroups = kVariant.groups;  // warpgroups that compute
  static constexpr bool kExact = kExact_;
  static constexpr int kRows = kVariant.rows();
  static constexpr int kConsumers = 128 * kGroups;
  static constexpr int kThreads = kConsumers + 32;
  static constexpr int kStageBytes = kVariant.stage_bytes();
  using Sums = TileSums<kRows, kTokens>;
};

template <typename S>
struct Fp8Block {
  const Fp8SmallParams& p;
  uint8_t* ring;
  float* sums;
  uint64_t* full;
  uint64_t* empty;
  int rank;                  // in the cluster
  int first_unit, end_unit;  // 128s of K of this rank

  __device__ uint8_t* Weights(int stage) const { return ring + stage * S::kStageBytes; }
  __device__ uint8_t* Tokens(int stage) const { return Weights(stage) + S::kRows * 128; }
  __device__ int Cluster() const { return static_cast<int>(blockIdx.x) / p.split; }
  __device__ int Clusters() const { return static_cast<int>(gridDim.x) / p.split; }
};

template <typename S>
__device__ __forceinline__ void Fp8Produce(const Fp8Block<S>& b, const CUtensorMap* weights,
                                           const CUtensorMap* tokens) {
  const int units = b.end_unit - b.first_unit;
  const int ahead = min(units, b.p.stages);
  for (int i = 0; i < ahead; ++i) {
    BarrierArriveExpect(&b.full[i], S::kStageBytes);
    CopyBox(b.Weights(i), weights, (b.first_unit + i) * 128, b.Cluster() * S::kRows, 0, &b.full[i],
            kEvictFirst);
  }
  WaitForPredecessor();
  RingPosition at;
  int count = 0;
  for (int row_block = b.Cluster(); row_block < b.p.row_blocks; row_block += b.Clusters()) {
    for (int unit = b.first_unit; unit < b.end_unit; ++unit, ++count, at.Next(b.p.stages)) {
      if (count >= ahead) {
        BarrierWait(&b.empty[at.stage], at.parity ^ 1);
        BarrierArriveExpect(&b.full[at.stage], S::kStageBytes);
        CopyBox(b.Weights(at.stage), weights, unit * 128, row_block * S::kRows, 0,
                &b.full[at.stage], kEvictFirst);
      }
      CopyBox(b.Tokens(at.stage), tokens, unit * 128, 0, 0, &b.full[at.stage], kEvictLast);
    }
  }
}

template <typename S>
struct Fp8Consumer {
  using T = typename S::T;
  static constexpr int kAccumulators = S::kTokens / 2;
  const Fp8Block<S>& b;
  const int group = threadIdx.x / 128;

  __device__ void Release(int stage) const {
    if (threadIdx.x % 32 == 0) BarrierArrive(&b.empty[stage]);
  }
  // Issues the four products of a stage.
  __device__ void Issue(float (&d)[kAccumulators], int stage, bool clear) const {
    const uint64_t w = WgmmaDescriptor(SharedAddress(b.Weights(stage) + group * 64 * 128));
    const uint64_t x = WgmmaDescriptor(SharedAddress(b.Tokens(stage)));
    WgmmaFence();
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      WgmmaE4m3<S::kTokens>(d, WgmmaAdvance(w, i * 32), WgmmaAdvance(x, i * 32),
                            !(clear && i == 0));
    }
    WgmmaCommit();
  }

  __device__ void Run() const {
    RingPosition at;
    for (int row_block = b.Cluster(); row_block < b.p.row_blocks; row_block += b.Clusters()) {
      float d[kAccumulators];
      if constexpr (S::kExact) {
        SumExact(d, at);
      } else {
        SumFast(d, at);
      }
      S::Sums::Write(b.sums, d, 0, group * 64, b.p.m);
      if (b.p.split > 1) return;  // one row block a cluster; the kernel goes on
      NamedBarrierSync(1, S::kConsumers);
      Store(row_block);
      NamedBarrierSync(1, S::kConsumers);
    }
  }

  __device__ void SumFast(float (&d)[kAccumulators], RingPosition& at) const {
    int previous = -1;
    for (int unit = b.first_unit; unit < b.end_unit; ++unit) {
      BarrierWait(&b.full[at.stage], at.parity);
      Issue(d, at.stage, unit == b.first_unit);
      WgmmaWait<1>();
      if (previous >= 0) Release(previous);
      previous = at.stage;
      at.Next(b.p.stages);
    }
    WgmmaWait<0>();
    Release(previous);
  }
  __device__ void SumExact(float (&d)[kAccumulators], RingPosition& at) const {
    float part[kAccumulators];
#pragma unroll
    for (int i = 0; i < kAccumulators; ++i) d[i] = 0.0f;
    for (int unit = b.first_unit; unit < b.end_unit; ++unit) {
      BarrierWait(&b.full[at.stage], at.parity);
      Issue(part, at.stage, true);
      WgmmaWait<0>();
      Release(at.stage);
#pragma unroll
      for (int i = 0; i < kAccumulators; ++i) d[i] += part[i];
      at.Next(b.p.stages);
    }
  }

  // This rank's share of the row block.
  __device__ void Store(int row_block) const {
    S::Sums::ForEachSum(
        b.sums, b.p.m, b.p.split, b.rank, S::kConsumers, [&](int token, int row, float4 sum) {
          const int n = row_block * S::kRows + row;
          if (n >= b.p.n) return;
          const float s = b.p.token_scales[token];
          const float4 w = *reinterpret_cast<const float4*>(b.p.weight_scales + n);
          float4 bias = make_float4(0.0f, 0.0f, 0.0f, 0.0f);
          if (b.p.bias != nullptr) {
            const uint2 pairs = *reinterpret_cast<const uint2*>(b.p.bias + n * 2);
            const float2 low = T::ToFloat2(pairs.x);
            const float2 high = T::ToFloat2(pairs.y);
            bias = make_float4(low.x, low.y, high.x, high.y);
          }
          *reinterpret_cast<uint2*>(b.p.out + (token * b.p.ldo + n) * 2) =
              make_uint2(T::FromFloat2(sum.x * w.x * s + bias.x, sum.y * w.y * s + bias.y),
                         T::FromFloat2(sum.z * w.z * s + bias.z, sum.w * w.w * s + bias.w));
        });
  }
};

template <typename S>
__global__ void __launch_bounds__(S::kThreads)
    Fp8SmallKernel(const __grid_constant__ CUtensorMap weights,
                   const __grid_constant__ CUtensorMap tokens, const Fp8SmallParams p) {
  extern __shared__ uint8_t shared[];
  Fp8Block<S> block = {.p = p};
  block.ring = shared + (1024 - SharedAddress(shared) % 1024) % 1024;
  block.sums = reinterpret_cast<float*>(block.Weights(p.stages));
  block.full = reinterpret_cast<uint64_t*>(block.Weights(p.stages) + S::Sums::kBytes);
  block.empty = block.full + p.stages;
  block.rank = p.split > 1 ? static_cast<int>(ClusterRank()) : 0;
  block.first_unit = block.rank * p.k_units / p.split;
  block.end_unit = (block.rank + 1) * p.k_units / p.split;
  if (threadIdx.x == 0) {
    for (int i = 0; i < p.stages; ++i) {
      BarrierInit(&block.full[i], 1);
      BarrierInit(&block.empty[i], S::kConsumers / 32);
    }
    FenceBarrierInit();
    PrefetchTensorMap(&weights);
    PrefetchTensorMap(&tokens);
  }
  __syncthreads();
  AllowSuccessor();
  if (threadIdx.x >= S::kConsumers) {
    if (threadIdx.x == S::kConsumers) Fp8Produce(block, &weights, &tokens);
    __syncwarp();
    if (p.split > 1) ClusterSync();
    if (p.split > 1) ClusterSync();
  } else {
    const Fp8Consumer<S> consumer{.b = block};
    consumer.Run();
    if (p.split > 1) {
      ClusterSync();
      consumer.Store(block.Cluster());
      ClusterSync();  // sums stay until the others have read them
    }
  }
}

template <typename T, Fp8Variant kVariant, bool kExact>
cudaError_t LaunchFp8Small(const LaunchShape& shape, cudaStream_t stream,
                           const CUtensorMap& weights, const CUtensorMap& tokens,
                           const Fp8SmallParams& params) {
  using S = Fp8Shape<T, kVariant, kExact>;
  const auto kernel = Fp8SmallKernel<S>;
  if (const cudaError_t error =
          cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                               static_cast<int>(shape.shared_bytes));
      error != cudaSuccess) {
    return error;
  }
  LaunchShape with_block = shape;
  with_block.block = dim3(S::kThreads);
  return Launch(kernel, with_block, stream, weights, tokens, params);
}

template <Fp8Variant kVariant>
constexpr Fp8Launchers Fp8LaunchersOf() {
  return {kVariant,
          {{LaunchFp8Small<Fp16, kVariant, false>, LaunchFp8Small<Fp16, kVariant, true>},
           {LaunchFp8Small<Bf16, kVariant, false>, LaunchFp8Small<Bf16, kVariant, true>}}};
}

}  // namespace baton::kernels::cuda
