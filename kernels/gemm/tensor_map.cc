#include "kernels/gemm/tensor_map.h"

namespace baton::kernels::cuda {
namespace {

// The driver's entry point, so that nothing links libcuda.
decltype(&cuTensorMapEncodeTiled) FindEncoder() {
  void* entry = nullptr;
  cudaDriverEntryPointQueryResult found = cudaDriverEntryPointSymbolNotFound;
  const cudaError_t error = cudaGetDriverEntryPointByVersion("cuTensorMapEncodeTiled", &entry,
                                                             12000, cudaEnableDefault, &found);
  if (error != cudaSuccess || found != cudaDriverEntryPointSuccess) return nullptr;
  return reinterpret_cast<decltype(&cuTensorMapEncodeTiled)>(entry);
}

CUtensorMapDataType DataType(int element_bytes) {
  if (element_bytes == 1) return CU_TENSOR_MAP_DATA_TYPE_UINT8;
  return element_bytes == 2 ? CU_TENSOR_MAP_DATA_TYPE_UINT16 : CU_TENSOR_MAP_DATA_TYPE_INT64;
}

}  // namespace

cudaError_t EncodeTensorMap(const TensorMapShape& shape, CUtensorMap* map) {
  static const auto encode = FindEncoder();
  if (encode == nullptr) return cudaErrorNotSupported;
  cuuint64_t sizes[3], strides[2];
  cuuint32_t box[3], steps[3];
  for (int i = 0; i < 3; ++i) {
    sizes[i] = static_cast<cuuint64_t>(shape.size[i]);
    box[i] = static_cast<cuuint32_t>(shape.box[i]);
    steps[i] = 1;
    if (i < 2) strides[i] = static_cast<cuuint64_t>(shape.stride_bytes[i]);
  }
  const CUresult result =
      encode(map, DataType(shape.element_bytes), 3, const_cast<void*>(shape.data), sizes, strides,
             box, steps, CU_TENSOR_MAP_INTERLEAVE_NONE,
             shape.swizzle ? CU_TENSOR_MAP_SWIZZLE_128B : CU_TENSOR_MAP_SWIZZLE_NONE,
             CU_TENSOR_MAP_L2_PROMOTION_L2_256B, CU_TENSOR_MAP_FLOAT_OOB_FILL_NONE);
  return result == CUDA_SUCCESS ? cudaSuccess : cudaErrorInvalidValue;
}

}  // namespace baton::kernels::cuda
