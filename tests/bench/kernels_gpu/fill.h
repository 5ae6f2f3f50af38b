// Random operands, made on the device: data never repeat and are never zero throughout.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/cuda/types.h"

namespace baton::bench {

// Normal, of standard deviation sigma.
void FillActivations(kernels::cuda::ActivationType type, void* out, size_t count, float sigma,
                     uint32_t seed);
void FillFloats(float* out, size_t count, float low, float high, uint32_t seed);  // uniform
void FillBytes(void* out, size_t bytes, uint32_t seed);                           // uniform bits
// Normal of deviation 64 rounded to e4m3 (largest 448).
void FillE4m3(void* out, size_t count, uint32_t seed);

}  // namespace baton::bench
