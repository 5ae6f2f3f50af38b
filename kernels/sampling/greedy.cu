// A cluster of blocks reads one row once; their results meet in distributed shared memory, so
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

constexpr int kMaxCluster = 8;
constexpr int kThreads = 512;
constexpr int kVectors = 2;  // a turn; as many are on their way for the next
constexpr int kWarps = kThreads / 32;

// The best logit of a set and the sum of exp(logit - max) over it. Empty: token -1, sum 0.
struct Best {
  float max;
  float sum;
  int32_t token;
};

__device__ __forceinline__ float MinusInfinity() { return __uint_as_float(0xFF800000u); }
__device__ __forceinline__ Best Nothing() { return {MinusInfinity(), 0.0f, -1}; }

// exp of a number that is not positive; results below 2^-126 are 0. One multiplication and one
// instruction of the special unit, which __expf only is with denormals off.
__device__ __forceinline__ float Exp(float x) {
  float y;
  asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(y) : "f"(x * 1.44269504f));
  return y;
}

// Values are selected, never references: those would put both operands into local memory.
__device__ __forceinline__ Best Merge(const Best& a, const Best& b) {
  // Of token -1 the unsigned value is the largest: an empty set loses every tie.
  const bool first = a.max > b.max || (a.max == b.max && static_cast<uint32_t>(a.token) <=
                                                             static_cast<uint32_t>(b.token));
  const float max = first ? a.max : b.max;
  const float distance = first ? b.max - a.max : a.max - b.max;
  const float kept = first ? a.sum : b.sum;
  const float scaled = first ? b.sum : a.sum;
  const int32_t token = first ? a.token : b.token;
  // An empty set: nothing to add, and the distance may be of two infinities.
  return {max, scaled == 0.0f ? kept : kept + scaled * Exp(distance), token};
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

// The best of kVectors vectors, of which vector i starts at token `first` + i * `step`. Logits that
// do not exist are -infinity.
__device__ __forceinline__ Best BestOf(float (&x)[kVectors][8], int first, int step) {
  float max = MinusInfinity();
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
#pragma unroll
    for (int j = 0; j < 8; ++j) {
      x[i][j] = fmaxf(x[i][j], MinusInfinity());  // the number, if the other is NaN
      max = fmaxf(max, x[i][j]);
    }
  }
  if (max == MinusInfinity()) return Nothing();
  int32_t token = -1;
  float sums[kVectors];
#pragma unroll
  for (int i = kVectors - 1; i >= 0; --i) {
    sums[i] = 0.0f;
#pragma unroll
    for (int j = 7; j >= 0; --j) {
      if (x[i][j] == max) token = first + i * step + j;  // descending: the lowest stays
      sums[i] += Exp(x[i][j] - max);
    }
  }
  float sum = sums[0];
#pragma unroll
  for (int i = 1; i < kVectors; ++i) sum += sums[i];
  return {max, sum, token};
}

// Vectors first, first + kThreads … that exist.
__device__ __forceinline__ void LoadVectors(uint4 (&packed)[kVectors], const uint4* in, int first,
                                            int vectors) {
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const int vector = first + i * kThreads;
    packed[i] = vector < vectors ? in[vector] : make_uint4(0, 0, 0, 0);
  }
}

template <typename T>
__global__ __launch_bounds__(kThreads, 3) void GreedyKernel(const GreedyParams p) {
  __shared__ Best warps[kWarps];
  __shared__ Best blocks[kMaxCluster];
  const cg::cluster_group cluster = cg::this_cluster();
  const int cluster_blocks = static_cast<int>(cluster.num_blocks());
  const int64_t row = blockIdx.x / cluster_blocks;
  const int rank = static_cast<int>(cluster.block_rank());
  // Distributed shared memory may be written once every block of the cluster runs.
  auto started = cluster.barrier_arrive();
  AllowSuccessor();
  WaitForPredecessor();

  const uint4* in =
      reinterpret_cast<const uint4*>(static_cast<const uint16_t*>(p.logits) + row * p.stride);
  const int vectors = (p.vocab + 7) / 8;
  const int step = cluster_blocks * kThreads * kVectors;
  Best best = Nothing();
  int first = rank * kThreads * kVectors + threadIdx.x;
  uint4 packed[kVectors];
  LoadVectors(packed, in, first, vectors);
  for (; first < vectors; first += step) {
    float x[kVectors][8];
#pragma unroll
    for (int i = 0; i < kVectors; ++i) Unpack8<T>(packed[i], x[i]);
    LoadVectors(packed, in, first + step, vectors);  // of the next turn, while this one computes
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      const int left = p.vocab - (first + i * kThreads) * 8;  // logits from here on
      if (left < 8) {
#pragma unroll
        for (int j = 0; j < 8; ++j) {
          if (j >= left) x[i][j] = MinusInfinity();
        }
      }
    }
    best = Merge(best, BestOf(x, first * 8, kThreads * 8));
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
  for (int i = 1; i < cluster_blocks; ++i) best = Merge(best, blocks[i]);
  p.tokens[row] = best.token;
  if (p.logprobs != nullptr) {
    // The chosen logit is the maximum: its log-softmax is -log(sum). NaN for a maximum of
    // +infinity.
    const bool defined = best.token >= 0 && best.max < -MinusInfinity();
    p.logprobs[row] = defined ? -logf(best.sum) : __uint_as_float(0x7FC00000u);
  }
}

// Blocks a row: two blocks on each of an H100's multiprocessors, as far as clusters go.
int GreedyCluster(int rows) {
  int cluster = kMaxCluster;
  while (cluster > 1 && rows * cluster > 2 * 132) cluster /= 2;
  return cluster;
}

}  // namespace

cudaError_t SampleGreedyRows(const GreedyParams& params) {
  if (GreedyProblem(params) != nullptr) return cudaErrorInvalidValue;
  if (params.rows == 0) return cudaSuccess;
  const int cluster = GreedyCluster(params.rows);
  const LaunchShape shape = {
      .grid = dim3(params.rows * cluster), .block = dim3(kThreads), .cluster = cluster};
  return params.type == ActivationType::kFp16
             ? Launch(GreedyKernel<Fp16>, shape, params.stream, params)
             : Launch(GreedyKernel<Bf16>, shape, params.stream, params);
}

}  // namespace baton::kernels::cuda
