// The order-free checksum of slabs (kernels/kv_pack/slab.h) on the device.
#pragma once

#include <cstdint>

namespace baton::kernels::cuda {

// The finalizer of splitmix64.
__device__ __forceinline__ uint64_t Mix64(uint64_t x) {
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return x ^ (x >> 31);
}

// The summand of 64-bit word `index` of a payload.
__device__ __forceinline__ uint64_t ChecksumTerm(uint64_t word, uint64_t index) {
  return Mix64(word ^ (index * 0x9E3779B97F4A7C15ull));
}

}  // namespace baton::kernels::cuda
