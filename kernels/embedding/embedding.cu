#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/embedding/cuda.h"

namespace baton::kernels::cuda {
namespace {

constexpr int kThreads = 128;
constexpr int kVectors = 4;  // loads in flight a thread

// The type shows only in the pattern of NaN: 0x7FFF is one in both.
__global__ __launch_bounds__(kThreads) void EmbeddingKernel(const EmbeddingParams p) {
  const int64_t row = blockIdx.x;
  const int64_t vectors = p.dim / 8;
  AllowSuccessor();
  WaitForPredecessor();
  const int32_t token = p.tokens[row];
  uint4* out = static_cast<uint4*>(p.out) + row * vectors;
  const bool known = token >= 0 && token < p.vocab;
  const uint4* in = static_cast<const uint4*>(p.table) + (known ? token : 0) * vectors;
  const uint4 nan = make_uint4(0x7FFF7FFFu, 0x7FFF7FFFu, 0x7FFF7FFFu, 0x7FFF7FFFu);
  for (int64_t first = threadIdx.x; first < vectors; first += kThreads * kVectors) {
    uint4 values[kVectors];
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      const int64_t vector = first + i * kThreads;
      values[i] = known && vector < vectors ? in[vector] : nan;
    }
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      const int64_t vector = first + i * kThreads;
      if (vector < vectors) out[vector] = values[i];
    }
  }
}

}  // namespace

cudaError_t Embedding(const EmbeddingParams& params) {
  if (EmbeddingProblem(params) != nullptr) return cudaErrorInvalidValue;
  if (params.rows == 0) return cudaSuccess;
  return Launch(EmbeddingKernel, {.grid = dim3(params.rows), .block = dim3(kThreads)},
                params.stream, params);
}

}  // namespace baton::kernels::cuda
