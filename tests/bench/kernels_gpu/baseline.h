// cuBLAS FP16, the baseline of every product: the fastest of cublasGemmEx and the first eight
// cuBLASLt algorithms with a workspace of 32 MiB.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <tuple>

#include "kernels/gemm/cublaslt.h"
#include "tests/bench/kernels_gpu/bench.h"
#include "tests/gpu/support/memory.h"

namespace baton::bench {

// Operands of one product shape that rotate past the L2, made once for all M.
class ProductOperands {
 public:
  ProductOperands(const GemmShape& shape, int max_m, double bytes_per_weight);

  const GemmShape& shape() const { return shape_; }
  int copies() const { return copies_; }
  // Copy `copy` of the weights, [N, K] of `bytes_per_weight` random bytes each; fill before use.
  void* weight(int copy) const;
  size_t weight_bytes() const { return weight_bytes_; }
  void* activations() const { return activations_.data(); }  // [max_m, K], 2 bytes each
  void* out() const { return out_.data(); }                  // [max_m, N], 2 bytes each

 private:
  GemmShape shape_;
  size_t weight_bytes_;
  int copies_;
  kernels::cuda::DeviceBytes weights_;
  kernels::cuda::DeviceBytes activations_;
  kernels::cuda::DeviceBytes out_;
};

class CublasBaseline {
 public:
  explicit CublasBaseline(GpuBench& bench);
  ~CublasBaseline();
  CublasBaseline(const CublasBaseline&) = delete;
  CublasBaseline& operator=(const CublasBaseline&) = delete;

  struct Best {
    double us = 0.0;     // 0: nothing ran
    std::string how;     // "GemmEx", "Lt 3"
    int algorithm = -1;  // of cuBLASLt; -1: GemmEx
  };
  // The choice is made at the first call for a shape and M. Its time is remembered, but for large M
  // taken again at every call: there the clock sinks under load, and what is compared must be
  // measured side by side.
  const Best& Time(const GemmShape& shape, int m);

 private:
  void Choose(int m, Best* best);  // for operands_
  void Measure(int m, Best* best, int replays = 0);
  kernels::cuda::GemmF16Params Params(int m, int copy, cudaStream_t stream) const;

  GpuBench& bench_;
  void* handle_ = nullptr;  // cublasHandle_t
  kernels::cuda::DeviceBytes workspace_;
  std::unique_ptr<kernels::cuda::CublasLt> lt_;
  std::unique_ptr<ProductOperands> operands_;  // of the shape measured last
  std::map<std::tuple<int, int, int>, Best> known_;
};

}  // namespace baton::bench
