// Random operands of the products of few bits, in copies that rotate past the L2.
#pragma once

#include "kernels/gemm/config.h"
#include "kernels/gemm/cuda.h"
#include "tests/bench/kernels_gpu/baseline.h"
#include "tests/gpu/support/memory.h"

namespace baton::bench {

// Symmetric INT4 weights in groups of 128 with fp16 scales; fp16 activations.
class Int4Operands {
 public:
  Int4Operands(const GemmShape& shape, int max_m);

  int copies() const { return operands_.copies(); }
  const kernels::Int4TileLayout& layout() const { return layout_; }
  const uint8_t* Tiles(int copy) const;
  // Of copy 0, without a stream.
  kernels::cuda::GemmW4A16Params Params(int m, int sm_count) const;
  kernels::cuda::GemmSize Size(int m) const;

 private:
  kernels::Int4TileLayout layout_;
  ProductOperands operands_;
};

// e4m3 operands with a scale per token and per output feature.
class Fp8Operands {
 public:
  Fp8Operands(const GemmShape& shape, int max_m);

  int copies() const { return operands_.copies(); }
  const uint8_t* Weights(int copy) const;
  kernels::cuda::GemmFp8Params Params(int m, kernels::cuda::Fp8Mode mode) const;
  kernels::cuda::GemmSize Size(int m) const;

 private:
  ProductOperands operands_;
  kernels::cuda::DeviceArray<float> a_scale_;
  kernels::cuda::DeviceArray<float> w_scale_;
};

}  // namespace baton::bench
