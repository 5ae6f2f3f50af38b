// Copies of boxes described by a tensor map (tensor_map.h), by the copy engine.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "kernels/cuda/ptx.cuh"

namespace baton::kernels::cuda {

// Brings a descriptor to its cache; `map` is a __grid_constant__ parameter.
__device__ __forceinline__ void PrefetchTensorMap(const CUtensorMap& map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(reinterpret_cast<uint64_t>(&map)) : "memory");
}

// The box at (x, y, z) to shared memory (1024-byte aligned atoms of the swizzle); completes on the
// barrier's transaction count with the bytes of the whole box, also of what lies outside.
__device__ __forceinline__ void CopyTensor3(uint32_t shared, const CUtensorMap& map, int x, int y,
                                            int z, uint64_t* barrier) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes "
      "[%0], [%1, {%2, %3, %4}], [%5];" ::"r"(shared),
      "l"(reinterpret_cast<uint64_t>(&map)), "r"(x), "r"(y), "r"(z), "r"(SharedAddress(barrier))
      : "memory");
}

}  // namespace baton::kernels::cuda
