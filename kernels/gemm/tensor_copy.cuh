// Copies of tensor-map tiles to shared memory, and barriers across a cluster.
#pragma once

#include <cuda.h>

#include <cstdint>

#include "kernels/cuda/ptx.cuh"

namespace baton::kernels::cuda {

// The box whose first element is (x, y, z), dimensions in the map's order; completes on `barrier`'s
// transaction count. The whole box counts, also what lies outside the array. One thread.
__device__ __forceinline__ void CopyBox(void* shared, const CUtensorMap* map, int x, int y, int z,
                                        uint64_t* barrier, uint64_t hint) {
  asm volatile(
      "cp.async.bulk.tensor.3d.shared::cluster.global.mbarrier::complete_tx::bytes.L2::cache_hint "
      "[%0], [%1, {%2, %3, %4}], [%5], %6;" ::"r"(SharedAddress(shared)),
      "l"(map), "r"(x), "r"(y), "r"(z), "r"(SharedAddress(barrier)), "l"(hint)
      : "memory");
}
__device__ __forceinline__ void PrefetchTensorMap(const CUtensorMap* map) {
  asm volatile("prefetch.tensormap [%0];" ::"l"(map) : "memory");
}

__device__ __forceinline__ void ClusterSync() {
  asm volatile("barrier.cluster.arrive.release.aligned;\n\tbarrier.cluster.wait.acquire.aligned;" ::
                   : "memory");
}
__device__ __forceinline__ uint32_t ClusterRank() {
  uint32_t rank;
  asm volatile("mov.u32 %0, %%cluster_ctarank;" : "=r"(rank));
  return rank;
}
// Two or four floats at the same place in block `rank`.
__device__ __forceinline__ float2 LoadRemote2(const float* shared, uint32_t rank) {
  float2 v;
  asm volatile(
      "{\n\t.reg .b32 remote;\n\t"
      "mapa.shared::cluster.u32 remote, %2, %3;\n\t"
      "ld.shared::cluster.v2.f32 {%0, %1}, [remote];\n\t}"
      : "=f"(v.x), "=f"(v.y)
      : "r"(SharedAddress(shared)), "r"(rank)
      : "memory");
  return v;
}
__device__ __forceinline__ float4 LoadRemote4(const float* shared, uint32_t rank) {
  float4 v;
  asm volatile(
      "{\n\t.reg .b32 remote;\n\t"
      "mapa.shared::cluster.u32 remote, %4, %5;\n\t"
      "ld.shared::cluster.v4.f32 {%0, %1, %2, %3}, [remote];\n\t}"
      : "=f"(v.x), "=f"(v.y), "=f"(v.z), "=f"(v.w)
      : "r"(SharedAddress(shared)), "r"(rank)
      : "memory");
  return v;
}

// Stores four 8×8 matrices of 16-bit elements, each transposed; lane i gives the address of row
// i % 8 of matrix i / 8.
__device__ __forceinline__ void StoreMatrix4Transposed(uint32_t shared, uint32_t a, uint32_t b,
                                                       uint32_t c, uint32_t d) {
  asm volatile(
      "stmatrix.sync.aligned.m8n8.x4.trans.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(shared),
      "r"(a), "r"(b), "r"(c), "r"(d)
      : "memory");
}
// Waits for the `threads` that name this barrier, 1 … 15.
__device__ __forceinline__ void NamedBarrierSync(int barrier, int threads) {
  asm volatile("bar.sync %0, %1;" ::"r"(barrier), "r"(threads) : "memory");
}

}  // namespace baton::kernels::cuda
