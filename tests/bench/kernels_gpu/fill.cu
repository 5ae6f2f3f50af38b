#include "kernels/cuda/numeric.cuh"
#include "tests/bench/kernels_gpu/fill.h"
#include "tests/gpu/support/memory.h"

namespace baton::bench {
namespace {

namespace cuda = kernels::cuda;

constexpr int kThreads = 256;
constexpr int kBlocks = 1024;

__device__ uint32_t Hash(uint64_t index, uint32_t seed) {
  uint64_t x = index * 0x9E3779B97F4A7C15ull + seed * 0xD1B54A32D192ED03ull + 1;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
  return static_cast<uint32_t>(x >> 32);
}
__device__ float Uniform(uint64_t index, uint32_t seed) {
  return static_cast<float>(Hash(index, seed) >> 8) * 0x1p-24f;
}
// Box-Muller.
__device__ float Normal(uint64_t index, uint32_t seed) {
  const float u = Uniform(2 * index, seed) + 0x1p-25f;
  return sqrtf(-2.0f * logf(u)) * cospif(2.0f * Uniform(2 * index + 1, seed));
}

template <typename Store>
__global__ void Fill(size_t count, Store store) {
  const size_t stride = static_cast<size_t>(gridDim.x) * blockDim.x;
  for (size_t i = blockIdx.x * static_cast<size_t>(blockDim.x) + threadIdx.x; i < count;
       i += stride) {
    store(i);
  }
}

template <typename T>
struct StoreActivation {
  typename T::Value* out;
  float sigma;
  uint32_t seed;
  __device__ void operator()(size_t i) const { out[i] = T::FromFloat(sigma * Normal(i, seed)); }
};
struct StoreFloat {
  float* out;
  float low, high;
  uint32_t seed;
  __device__ void operator()(size_t i) const { out[i] = low + (high - low) * Uniform(i, seed); }
};
struct StoreByte {
  uint8_t* out;
  uint32_t seed;
  __device__ void operator()(size_t i) const { out[i] = static_cast<uint8_t>(Hash(i, seed)); }
};
struct StoreE4m3 {
  uint8_t* out;
  uint32_t seed;
  __device__ void operator()(size_t i) const {
    out[i] = cuda::E4m3FromFloat(64.0f * Normal(i, seed));
  }
};

template <typename Store>
void Run(size_t count, Store store) {
  if (count == 0) return;
  Fill<<<kBlocks, kThreads>>>(count, store);
  cuda::OrAbort(cudaGetLastError(), "fill");
}

}  // namespace

void FillActivations(cuda::ActivationType type, void* out, size_t count, float sigma,
                     uint32_t seed) {
  if (type == cuda::ActivationType::kFp16) {
    Run(count, StoreActivation<cuda::Fp16>{static_cast<__half*>(out), sigma, seed});
  } else {
    Run(count, StoreActivation<cuda::Bf16>{static_cast<__nv_bfloat16*>(out), sigma, seed});
  }
}
void FillFloats(float* out, size_t count, float low, float high, uint32_t seed) {
  Run(count, StoreFloat{out, low, high, seed});
}
void FillBytes(void* out, size_t bytes, uint32_t seed) {
  Run(bytes, StoreByte{static_cast<uint8_t*>(out), seed});
}
void FillE4m3(void* out, size_t count, uint32_t seed) {
  Run(count, StoreE4m3{static_cast<uint8_t*>(out), seed});
}

}  // namespace baton::bench
