// Embedding lookup on the GPU; plain C++.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/types.h"

namespace baton::kernels::cuda {

// out[row] = table[tokens[row]]. A token outside the table gives a row of NaN: device memory cannot
// be refused, and NaN cannot pass for a result.
struct EmbeddingParams {
  ActivationType type = ActivationType::kFp16;
  const int32_t* tokens = nullptr;  // [rows]
  const void* table = nullptr;      // [vocab, dim], aligned to 16 bytes
  void* out = nullptr;              // [rows, dim], aligned to 16 bytes
  int rows = 0;
  int vocab = 0;
  int dim = 0;  // a multiple of 8
  cudaStream_t stream = nullptr;
};
const char* EmbeddingProblem(const EmbeddingParams& params);
cudaError_t Embedding(const EmbeddingParams& params);

}  // namespace baton::kernels::cuda
