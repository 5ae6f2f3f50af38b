// A cluster of eight blocks reads one row once; their results meet in distributed shared memory, so
// no workspace and no second launch is needed.
#include <cooperative_groups.h>

#include <utility>

#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/numeric.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/sampling/cuda.h"

namespace baton::kernels::cuda {
namespace {

namespace cg = cooperative_groups;

constexpr int kCluster = 8;
constexpr int kThreads = 512;
constexpr int kVectors = 4;  // loads in flight a thread
constexpr int kWarps = kThreads / 32;

// The best logit of a set and the sum of exp(logit - max) over it. Empty: token -1, sum 0.
struct Best {
  float max;
  float sum;
  int32_t token;
};

__device__ __forceinline__ float MinusInfinity() { return __uint_as_float(0xFF800000u); }
__device__ __forceinline__ Best Nothing() { return {MinusInfinity(), 0.0f, -1}; }

__device__ __forceinline__ Best Merge(const Best& a, const Best& b) {
  const bool first = a.max > b.max || (a.max == b.max && static_cast<uint32_t>(a.token) <=
                                                             static_cast<uint32_t>(b.token));
  const Best& winner = first ? a : b;
  const Best& other = first ? b : a;
  if (other.token < 0) return winner;
  // expf of 0 where both are +infinity would be of NaN: TokenLogprobs is NaN there too.
  return {winner.max, winner.sum + other.sum * __expf(other.max - winner.max), winner.token};
}

__device__ __forceinline__ Best WarpBest(Best best) {
#pragma unroll
  for (int offset = 16; offset > 0; offset /= 2) {
    const Best other = {__shfl_xor_sync(0xFFFFFFFFu, best.max, offset),
                        __shfl_xor_sync(0xFFFFFFFFu, best.sum, offset),
                        __shfl_xor_sync(0xFFFFFFFFu, best.token, offset)};
    best = Merge(best, other);
  }
  return best;
}

// Adds eight logits that start at token `first`, of which those before `end` exist.
template <typename T>
__device__ __forceinline__ void Add8(Best& best, const uint4& packed, int first, int end) {
  float x[8];
  Unpack8<T>(packed, x);
  float max = best.max;
  int32_t token = best.token;
#pragma unroll
  for (int j = 0; j < 8; ++j) {
    if (IsNan(x[j]) || first + j >= end) x[j] = MinusInfinity();
    if (x[j] > max) {
      max = x[j];
      token = first + j;
    }
  }
  if (token < 0) return;  // nothing above -infinity yet
  float sum = best.token < 0 ? 0.0f : best.sum * __expf(best.max - max);
#pragma unroll
  for (int j = 0; j < 8; ++j) sum += __expf(x[j] - max);
  best = {max, sum, token};
}

template <typename T>
__global__ __launch_bounds__(kThreads)
    __cluster_dims__(kCluster, 1, 1) void GreedyKernel(const GreedyParams p) {
  __shared__ Best warps[kWarps];
  __shared__ Best blocks[kCluster];
  const cg::cluster_group cluster = cg::this_cluster();
  const int64_t row = blockIdx.x / kCluster;
  const int rank = static_cast<int>(cluster.block_rank());
  // Distributed shared memory may be written once every block of the cluster runs.
  auto started = cluster.barrier_arrive();
  AllowSuccessor();
  WaitForPredecessor();

  const uint4* in =
      reinterpret_cast<const uint4*>(static_cast<const uint16_t*>(p.logits) + row * p.stride);
  const int vectors = (p.vocab + 7) / 8;
  constexpr int kStep = kCluster * kThreads * kVectors;
  Best best = Nothing();
  for (int first = rank * kThreads * kVectors + threadIdx.x; first < vectors; first += kStep) {
    uint4 packed[kVectors] = {};
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      const int vector = first + i * kThreads;
      if (vector < vectors) packed[i] = in[vector];
    }
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      const int vector = first + i * kThreads;
      if (vector < vectors) Add8<T>(best, packed[i], vector * 8, p.vocab);
    }
  }
  cluster.barrier_wait(std::move(started));
  best = WarpBest(best);
  if (threadIdx.x % 32 == 0) warps[threadIdx.x / 32] = best;
  __syncthreads();
  if (threadIdx.x < 32) {
    best = WarpBest(threadIdx.x < kWarps ? warps[threadIdx.x] : Nothing());
    if (threadIdx.x == 0) *cluster.map_shared_rank(&blocks[rank], 0) = best;
  }
  cluster.sync();
  if (rank != 0 || threadIdx.x != 0) return;
  best = blocks[0];
  for (int i = 1; i < kCluster; ++i) best = Merge(best, blocks[i]);
  p.tokens[row] = best.token;
  if (p.logprobs != nullptr) {
    // The chosen logit is the maximum: its log-softmax is -log(sum). NaN for a maximum of
    // +infinity.
    const bool defined = best.token >= 0 && best.max < -MinusInfinity();
    p.logprobs[row] = defined ? -logf(best.sum) : __uint_as_float(0x7FC00000u);
  }
}

}  // namespace

cudaError_t SampleGreedyRows(const GreedyParams& params) {
  if (GreedyProblem(params) != nullptr) return cudaErrorInvalidValue;
  if (params.rows == 0) return cudaSuccess;
  const LaunchShape shape = {.grid = dim3(params.rows * kCluster), .block = dim3(kThreads)};
  return params.type == ActivationType::kFp16
             ? Launch(GreedyKernel<Fp16>, shape, params.stream, params)
             : Launch(GreedyKernel<Bf16>, shape, params.stream, params);
}

}  // namespace baton::kernels::cuda
