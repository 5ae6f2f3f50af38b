// Tensor maps: how the copy engine finds a box of an array in device memory.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstdint>

namespace baton::kernels::cuda {

// An array of up to three dimensions, the contiguous one first, and the box of it that one copy
// brings to shared memory, densely, in the same order. What lies outside the array reads as 0.
struct TensorMapShape {
  const void* data = nullptr;    // aligned to 16 bytes
  int element_bytes = 2;         // 1, 2 or 8
  int64_t size[3] = {1, 1, 1};   // elements
  int64_t stride_bytes[2] = {};  // of the second and third dimension, multiples of 16
  int box[3] = {1, 1, 1};        // elements, at most 256 each
  bool swizzle = false;          // of 128 bytes, as WgmmaDescriptor expects; box[0] is 128 bytes
};

// cudaErrorInvalidValue where the shape cannot be described; cudaErrorNotSupported without a driver
// that knows tensor maps.
cudaError_t EncodeTensorMap(const TensorMapShape& shape, CUtensorMap* map);

}  // namespace baton::kernels::cuda
