// The four products of a decoder layer in one precision, with weights for several layers so that
// none is found in L2.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <string>
#include <vector>

#include "kernels/gemm/cublaslt.h"
#include "kernels/quantize/cuda.h"
#include "tests/bench/kernels_gpu/bench.h"
#include "tests/gpu/support/memory.h"

namespace baton::bench {

enum class Precision { kFp16, kW8A8Fp8, kW4A16 };
const char* Name(Precision precision);
// Of all 16-bit activations.
inline constexpr kernels::cuda::ActivationType kLayerType = kernels::cuda::ActivationType::kFp16;
// Of weights and their scales.
double BytesPerWeight(Precision precision);

// What a product reads: 16-bit activations, or FP8 ones.
struct ProductInput {
  const void* a = nullptr;  // [m, k]
  kernels::cuda::Fp8Rows fp8;
};

class LayerProduct {
 public:
  virtual ~LayerProduct() = default;
  // out [m, n] of copy `copy`.
  virtual cudaError_t Run(int copy, const ProductInput& in, void* out, int m,
                          cudaStream_t stream) = 0;
  // Chooses algorithms for m rows; once before the first Run of that m.
  virtual cudaError_t Prepare(const ProductInput& in, void* out, int m, cudaStream_t stream) = 0;
};

// Library handle, workspace and flush buffer that the products share.
class ProductContext {
 public:
  explicit ProductContext(const kernels::cuda::DeviceTraits& device);

  kernels::cuda::CublasLt& lt() const { return *lt_; }
  kernels::cuda::LtTuning tuning() const;
  const kernels::cuda::DeviceTraits& device() const { return device_; }

 private:
  kernels::cuda::DeviceTraits device_;
  kernels::cuda::DeviceBytes workspace_;
  kernels::cuda::DeviceBytes flush_;
  std::unique_ptr<kernels::cuda::CublasLt> lt_;
};

// Random weights of `shape` for `copies` layers.
std::unique_ptr<LayerProduct> MakeProduct(const ProductContext& context, Precision precision,
                                          const GemmShape& shape, int copies);

}  // namespace baton::bench
