#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/row_dispatch.cuh"
#include "kernels/quantize/cuda.h"
#include "kernels/quantize/fp8_row.cuh"

namespace baton::kernels::cuda {
namespace {

template <typename T, int kThreads, int kVectors>
__global__ __launch_bounds__(kThreads) void QuantizeKernel(const QuantizeFp8RowsParams p) {
  __shared__ float scratch[kThreads / 32];
  const int64_t row = blockIdx.x;
  const int vectors = p.dim / 8;
  AllowSuccessor();
  WaitForPredecessor();
  const uint4* in =
      reinterpret_cast<const uint4*>(static_cast<const uint16_t*>(p.x) + row * p.x_stride);
  uint4 packed[kVectors] = {};
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const int vector = threadIdx.x + i * kThreads;
    if (vector < vectors) packed[i] = in[vector];
  }
  float x[kVectors][8];
#pragma unroll
  for (int i = 0; i < kVectors; ++i) Unpack8<T>(packed[i], x[i]);
  StoreFp8Row<kThreads, kVectors>(x, vectors, p.out.codes + row * p.dim, p.out.scale + row,
                                  scratch);
}

struct Run {
  template <typename T, int kThreads, int kVectors>
  static cudaError_t Go(const QuantizeFp8RowsParams& p) {
    return Launch(QuantizeKernel<T, kThreads, kVectors>,
                  {.grid = dim3(p.rows), .block = dim3(kThreads)}, p.stream, p);
  }
};

}  // namespace

cudaError_t QuantizeFp8Rows(const QuantizeFp8RowsParams& params) {
  if (QuantizeFp8RowsProblem(params) != nullptr) return cudaErrorInvalidValue;
  if (params.rows == 0) return cudaSuccess;
  return DispatchRow<Run>(params.type, params.dim, params);
}

}  // namespace baton::kernels::cuda
