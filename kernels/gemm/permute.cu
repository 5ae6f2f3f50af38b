#include "kernels/cuda/launch.cuh"
#include "kernels/cuda/ptx.cuh"
#include "kernels/gemm/permute.h"

namespace baton::kernels::cuda {
namespace {

constexpr int kThreads = 256;

// A thread gathers 8 values of a row. The permutation is constant: read before the wait.
__global__ void __launch_bounds__(kThreads) PermuteColumnsKernel(const PermuteColumnsParams p) {
  AllowSuccessor();
  const int column = (static_cast<int>(blockIdx.x) * kThreads + static_cast<int>(threadIdx.x)) * 8;
  if (column >= p.columns) return;
  const int4 low = *reinterpret_cast<const int4*>(p.permutation + column);
  const int4 high = *reinterpret_cast<const int4*>(p.permutation + column + 4);
  const int from[8] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
  WaitForPredecessor();
  for (int64_t row = blockIdx.y; row < p.rows; row += gridDim.y) {
    const auto* in = static_cast<const uint16_t*>(p.in) + row * p.in_stride;
    uint32_t pairs[4];
#pragma unroll
    for (int i = 0; i < 4; ++i) {
      pairs[i] = in[from[2 * i]] | static_cast<uint32_t>(in[from[2 * i + 1]]) << 16;
    }
    *reinterpret_cast<uint4*>(static_cast<uint16_t*>(p.out) + row * p.columns + column) =
        make_uint4(pairs[0], pairs[1], pairs[2], pairs[3]);
  }
}

}  // namespace

cudaError_t PermuteColumns(const PermuteColumnsParams& params) {
  const unsigned blocks = static_cast<unsigned>((params.columns / 8 + kThreads - 1) / kThreads);
  const unsigned rows = static_cast<unsigned>(params.rows < 4096 ? params.rows : 4096);
  return Launch(PermuteColumnsKernel, {.grid = dim3(blocks, rows), .block = dim3(kThreads)},
                params.stream, params);
}

}  // namespace baton::kernels::cuda
