// Tensor maps: descriptions of a matrix in global memory for the copy engine. Encoded on the host
// (no device work, no allocation) and passed to a kernel by value as a __grid_constant__ parameter.
#pragma once

#include <cuda.h>
#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

namespace baton::kernels::cuda {

// Three dimensions of 16-bit elements, the first one contiguous. The box is what one copy moves;
// its rows of 128 bytes are swizzled (CU_TENSOR_MAP_SWIZZLE_128B), so box[0] is 64. Elements
// outside of the extents read as zero.
struct TensorMap3 {
  const void* base = nullptr;         // aligned to 16 bytes
  uint64_t extent[3] = {0, 0, 0};     // elements
  uint64_t stride_bytes[2] = {0, 0};  // of dimensions 1 and 2, multiples of 16
  uint32_t box[3] = {64, 1, 1};       // elements, each at most 256
};

// Also fails (cudaErrorInvalidValue) when the driver refuses the description.
inline cudaError_t EncodeTensorMap(const TensorMap3& map, CUtensorMap* out) {
  using Encode = decltype(&cuTensorMapEncodeTiled);
  void* entry = nullptr;
  cudaDriverEntryPointQueryResult found;
  if (const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry,
                                                                 12000, cudaEnableDefault, &found);
      error != cudaSuccess) {
    return error;
  }
  if (found != cudaDriverEntryPointSuccess) return cudaErrorSymbolNotFound;
  const cuuint64_t extent[3] = {map.extent[0], map.extent[1], map.extent[2]};
  const cuuint64_t stride[2] = {map.stride_bytes[0], map.stride_bytes[1]};
  const cuuint32_t element_stride[3] = {1, 1, 1};
  const CUresult result = reinterpret_cast<Encode>(entry)(
      out, CU_TENSOR_MAP_DATA_TYPE_UINT16, 3, const_cast<void*>(map.base), extent, stride, map.box,
      element_stride, CU_TENSOR_MAP_INTERLEAVE_NONE, CU_TENSOR_MAP_SWIZZLE_128B,
      CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

}  // namespace baton::kernels::cuda
