#include "kernels/activation/cuda.h"
#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/cuda/row_dispatch.cuh"
#include "kernels/quantize/fp8_row.cuh"

namespace baton::kernels::cuda {
namespace {

// Fast exponential and division: relative error below 2^-21 · (2 + |g| / 4), far under the rounding
// to 16 bits for every g whose silu is not negligible.
__device__ __forceinline__ float SiluTimes(float gate, float up) {
  return __fdividef(gate, 1.0f + __expf(-gate)) * up;
}

template <typename T>
__device__ __forceinline__ void SwiGlu8(const uint4& gate, const uint4& up, float (&y)[8]) {
  float g[8];
  float u[8];
  Unpack8<T>(gate, g);
  Unpack8<T>(up, u);
#pragma unroll
  for (int j = 0; j < 8; ++j) y[j] = SiluTimes(g[j], u[j]);
}

// Element-wise: blockIdx.y is the row, so that no thread divides.
constexpr int kPlainThreads = 256;
constexpr int kPlainVectors = 2;

template <typename T>
__global__ __launch_bounds__(kPlainThreads) void SwiGluKernel(const SwiGluParams p) {
  const int vectors = p.dim / 8;
  AllowSuccessor();
  WaitForPredecessor();
  for (int64_t row = blockIdx.y; row < p.rows; row += gridDim.y) {
    const uint16_t* gate_row = static_cast<const uint16_t*>(p.gate) + row * p.in_stride;
    const uint16_t* up_row = static_cast<const uint16_t*>(p.up) + row * p.in_stride;
    const int first = blockIdx.x * (kPlainThreads * kPlainVectors) + threadIdx.x;
    uint4 gate[kPlainVectors] = {};
    uint4 up[kPlainVectors] = {};
#pragma unroll
    for (int i = 0; i < kPlainVectors; ++i) {
      const int vector = first + i * kPlainThreads;
      if (vector >= vectors) break;
      gate[i] = reinterpret_cast<const uint4*>(gate_row)[vector];
      up[i] = reinterpret_cast<const uint4*>(up_row)[vector];
    }
#pragma unroll
    for (int i = 0; i < kPlainVectors; ++i) {
      const int vector = first + i * kPlainThreads;
      if (vector >= vectors) break;
      float y[8];
      SwiGlu8<T>(gate[i], up[i], y);
      (static_cast<uint4*>(p.out) + row * vectors)[vector] = Pack8<T>(y);
    }
  }
}

// The row's scale needs the whole row: one block a row, in registers.
template <typename T, int kThreads, int kVectors>
__global__ __launch_bounds__(kThreads) void SwiGluFp8Kernel(const SwiGluParams p) {
  __shared__ float scratch[kThreads / 32];
  const int64_t row = blockIdx.x;
  const int vectors = p.dim / 8;
  AllowSuccessor();
  WaitForPredecessor();
  const uint16_t* gate_row = static_cast<const uint16_t*>(p.gate) + row * p.in_stride;
  const uint16_t* up_row = static_cast<const uint16_t*>(p.up) + row * p.in_stride;
  uint4 gate[kVectors] = {};
  uint4 up[kVectors] = {};
#pragma unroll
  for (int i = 0; i < kVectors; ++i) {
    const int vector = threadIdx.x + i * kThreads;
    if (vector >= vectors) break;
    gate[i] = reinterpret_cast<const uint4*>(gate_row)[vector];
    up[i] = reinterpret_cast<const uint4*>(up_row)[vector];
  }
  float y[kVectors][8];
#pragma unroll
  for (int i = 0; i < kVectors; ++i) SwiGlu8<T>(gate[i], up[i], y[i]);
  StoreFp8Row<kThreads, kVectors>(y, vectors, p.fp8.codes + row * p.dim, p.fp8.scale + row,
                                  scratch);
}

struct RunFp8 {
  template <typename T, int kThreads, int kVectors>
  static cudaError_t Go(const SwiGluParams& p) {
    return Launch(SwiGluFp8Kernel<T, kThreads, kVectors>,
                  {.grid = dim3(p.rows), .block = dim3(kThreads)}, p.stream, p);
  }
};

}  // namespace

cudaError_t SwiGlu(const SwiGluParams& params) {
  if (SwiGluProblem(params) != nullptr) return cudaErrorInvalidValue;
  if (params.rows == 0) return cudaSuccess;
  if (params.fp8.codes != nullptr) return DispatchRow<RunFp8>(params.type, params.dim, params);
  constexpr int kMaxGridY = 65535;
  constexpr int kPerBlock = kPlainThreads * kPlainVectors * 8;
  const LaunchShape shape = {.grid = dim3((params.dim + kPerBlock - 1) / kPerBlock,
                                          params.rows < kMaxGridY ? params.rows : kMaxGridY),
                             .block = dim3(kPlainThreads)};
  return params.type == ActivationType::kFp16
             ? Launch(SwiGluKernel<Fp16>, shape, params.stream, params)
             : Launch(SwiGluKernel<Bf16>, shape, params.stream, params);
}

}  // namespace baton::kernels::cuda
