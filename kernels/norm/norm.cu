#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/row_dispatch.cuh"
#include "kernels/norm/cuda.h"
#include "kernels/quantize/fp8_row.cuh"

namespace baton::kernels::cuda {
namespace {

// One block a row, the row in registers: every operand is read once.
template <typename T, int kThreads, int kVectors>
__global__ __launch_bounds__(kThreads) void RmsNormKernel(const RmsNormParams p) {
  __shared__ float sums[kThreads / 32];
  __shared__ float maxima[kThreads / 32];
  const int64_t row = blockIdx.x;
  const int vectors = p.dim / 8;
  uint4 weight[kVectors] = {};
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const int vector = threadIdx.x + i * kThreads;
    if (vector < vectors) weight[i] = static_cast<const uint4*>(p.weight)[vector];
  }
  AllowSuccessor();
  WaitForPredecessor();

  const uint4* in =
      reinterpret_cast<const uint4*>(static_cast<const uint16_t*>(p.x) + row * p.x_stride);
  uint4* residual = static_cast<uint4*>(p.residual) + row * vectors;
  uint4 packed[kVectors] = {};
  uint4 added[kVectors] = {};
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const int vector = threadIdx.x + i * kThreads;
    if (vector >= vectors) break;
    packed[i] = in[vector];
    if (p.residual != nullptr) added[i] = residual[vector];
  }
  float x[kVectors][8];
  float sum = 0.0f;
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const int vector = threadIdx.x + i * kThreads;
    Unpack8<T>(packed[i], x[i]);
    if (p.residual != nullptr) {
      float r[8];
      Unpack8<T>(added[i], r);
#pragma unroll
      for (int j = 0; j < 8; ++j) r[j] += x[i][j];
      const uint4 rounded = Pack8<T>(r);
      if (vector < vectors) residual[vector] = rounded;
      Unpack8<T>(rounded, x[i]);
    }
#pragma unroll
    for (int j = 0; j < 8; ++j) sum = fmaf(x[i][j], x[i][j], sum);
  }
  sum = BlockReduce<Sum, kThreads>(sum, sums);
  const float scale = 1.0f / sqrtf(sum / static_cast<float>(p.dim) + p.eps);

#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    float w[8];
    Unpack8<T>(weight[i], w);
#pragma unroll
    for (int j = 0; j < 8; ++j) x[i][j] *= scale * w[j];
  }
  if (p.out != nullptr) {
    uint4* out = static_cast<uint4*>(p.out) + row * vectors;
#pragma unroll
    for (int i = 0; i < kVectors; ++i) {
      const int vector = threadIdx.x + i * kThreads;
      if (vector < vectors) out[vector] = Pack8<T>(x[i]);
    }
  }
  if (p.fp8.codes != nullptr) {
    StoreFp8Row<kThreads, kVectors>(x, vectors, p.fp8.codes + row * p.dim, p.fp8.scale + row,
                                    maxima);
  }
}

struct Run {
  template <typename T, int kThreads, int kVectors>
  static cudaError_t Go(const RmsNormParams& p) {
    return Launch(RmsNormKernel<T, kThreads, kVectors>,
                  {.grid = dim3(p.rows), .block = dim3(kThreads)}, p.stream, p);
  }
};

}  // namespace

cudaError_t RmsNorm(const RmsNormParams& params) {
  if (RmsNormProblem(params) != nullptr) return cudaErrorInvalidValue;
  if (params.rows == 0) return cudaSuccess;
  return DispatchRow<Run>(params.type, params.dim, params);
}

}  // namespace baton::kernels::cuda
