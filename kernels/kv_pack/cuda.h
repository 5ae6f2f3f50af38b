// Pack and scatter on the GPU. Plain C++.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/kv_pack/kv_pack.h"

namespace baton::kernels::cuda {

// PackParams and ScatterParams of kv_pack.h with pool, page table and payload in device memory (the
// payload 16-byte aligned). The bytes written are those of the references.
struct SlabCopyParams {
  PagedKv kv;
  const int32_t* pages = nullptr;  // [pages of tokens [0, range.t1)]
  SlabRange range;
  SlabLayout layout;
  std::byte* payload = nullptr;  // [layout.payload_bytes()]
  uint64_t* checksum = nullptr;  // the payload's checksum is added to it
  cudaStream_t stream = nullptr;
};

// Why a launch with these parameters is refused; null if it is not. Head dimensions 32, 64, 128 and
// 256; any pair of formats.
const char* SlabCopyProblem(const SlabCopyParams& params);

// Pages -> payload.
cudaError_t Pack(const SlabCopyParams& params);
// Payload -> pages: touches only the groups of the range.
cudaError_t Scatter(const SlabCopyParams& params);

}  // namespace baton::kernels::cuda
