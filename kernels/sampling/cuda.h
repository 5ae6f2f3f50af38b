// Greedy sampling on the GPU; plain C++.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/types.h"

namespace baton::kernels::cuda {

// Per row: the token of the highest logit, as SampleGreedy chooses it (ties: the lower id; NaN
// below everything; -1 if no logit is above -inf), and its log-softmax, as TokenLogprobs defines it
// (NaN for token -1).
struct GreedyParams {
  ActivationType type = ActivationType::kFp16;
  const void* logits = nullptr;  // [rows, stride], aligned to 16 bytes
  int64_t stride = 0;            // values between rows, a multiple of 8
  int32_t* tokens = nullptr;     // [rows]
  float* logprobs = nullptr;     // [rows], or null
  int rows = 0;
  int vocab = 0;
  cudaStream_t stream = nullptr;
};
const char* GreedyProblem(const GreedyParams& params);
cudaError_t SampleGreedyRows(const GreedyParams& params);

}  // namespace baton::kernels::cuda
