#include "tests/bench/kernels_gpu/baseline.h"

#include <cublas_v2.h>
#include <fmt/core.h>

#include <algorithm>

#include "tests/bench/kernels_gpu/fill.h"

namespace baton::bench {
namespace {

namespace cuda = kernels::cuda;

constexpr int kCandidateReplays = 5;  // to choose; the choice is then timed in full

cudaError_t GemmEx(cublasHandle_t handle, const ProductOperands& operands, int m, int copy,
                   cudaStream_t stream) {
  const float one = 1.0f;
  const float zero = 0.0f;
  const int n = operands.shape().n;
  const int k = operands.shape().k;
  cublasSetStream(handle, stream);
  const cublasStatus_t status =
      cublasGemmEx(handle, CUBLAS_OP_T, CUBLAS_OP_N, n, m, k, &one, operands.weight(copy),
                   CUDA_R_16F, k, operands.activations(), CUDA_R_16F, k, &zero, operands.out(),
                   CUDA_R_16F, n, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
  return status == CUBLAS_STATUS_SUCCESS ? cudaSuccess : cudaErrorNotSupported;
}

}  // namespace

ProductOperands::ProductOperands(const GemmShape& shape, int max_m, double bytes_per_weight)
    : shape_(shape),
      weight_bytes_(static_cast<size_t>(bytes_per_weight * shape.n * shape.k)),
      copies_(GpuBench::CopiesFor(static_cast<double>(weight_bytes_))),
      weights_(weight_bytes_ * copies_),
      activations_(size_t{2} * max_m * shape.k),
      out_(size_t{2} * max_m * shape.n) {}

void* ProductOperands::weight(int copy) const {
  return static_cast<uint8_t*>(weights_.data()) + weight_bytes_ * copy;
}

CublasBaseline::CublasBaseline(GpuBench& bench)
    : bench_(bench), workspace_(cuda::CublasLt::kWorkspaceBytes) {
  cublasHandle_t handle = nullptr;
  if (cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS) {
    cublasSetWorkspace(handle, workspace_.data(), workspace_.bytes());
    handle_ = handle;
  }
  cuda::OrAbort(cuda::CublasLt::Create(workspace_.data(), workspace_.bytes(), &lt_), "cuBLASLt");
}

CublasBaseline::~CublasBaseline() {
  if (handle_ != nullptr) cublasDestroy(static_cast<cublasHandle_t>(handle_));
}

const CublasBaseline::Best& CublasBaseline::Time(const GemmShape& shape, int m) {
  const auto key = std::make_tuple(shape.n, shape.k, m);
  const auto place = known_.find(key);
  if (place != known_.end()) return place->second;
  if (operands_ == nullptr || operands_->shape().n != shape.n || operands_->shape().k != shape.k) {
    const std::vector<int>& tokens = bench_.options().tokens;
    const int max_m = std::max(m, *std::max_element(tokens.begin(), tokens.end()));
    operands_.reset();
    operands_ = std::make_unique<ProductOperands>(shape, max_m, 2.0);
    FillActivations(cuda::ActivationType::kFp16, operands_->weight(0),
                    operands_->weight_bytes() / 2 * operands_->copies(), 0.02f, 11);
    FillActivations(cuda::ActivationType::kFp16, operands_->activations(),
                    static_cast<size_t>(max_m) * shape.k, 1.0f, 12);
    cuda::OrAbort(cudaDeviceSynchronize(), "fill");
  }
  return known_.emplace(key, Measure(*operands_, m)).first->second;
}

CublasBaseline::Best CublasBaseline::Measure(const ProductOperands& operands, int m) {
  const auto params = [&](int copy, cudaStream_t stream) {
    return cuda::GemmF16Params{.m = m,
                               .n = operands.shape().n,
                               .k = operands.shape().k,
                               .a = operands.activations(),
                               .lda = operands.shape().k,
                               .w = operands.weight(copy),
                               .out = operands.out(),
                               .ldo = operands.shape().n,
                               .stream = stream};
  };
  const BenchCall lt = [&](int copy, cudaStream_t stream) {
    return cuda::GemmF16(*lt_, params(copy, stream));
  };
  const BenchCall ex = [&](int copy, cudaStream_t stream) {
    return GemmEx(static_cast<cublasHandle_t>(handle_), operands, m, copy, stream);
  };
  Best best;
  int chosen = -1;
  if (handle_ != nullptr) best.us = bench_.TimeUs(operands.copies(), ex, kCandidateReplays);
  const int candidates = lt_->Candidates(params(0, nullptr));
  for (int i = 0; i < candidates; ++i) {
    lt_->Choose(params(0, nullptr), i);
    const double us = bench_.TimeUs(operands.copies(), lt, kCandidateReplays);
    if (us > 0.0 && (best.us == 0.0 || us < best.us)) {
      best.us = us;
      chosen = i;
    }
  }
  if (chosen >= 0) lt_->Choose(params(0, nullptr), chosen);
  best.us = bench_.TimeUs(operands.copies(), chosen >= 0 ? lt : ex);
  best.how = chosen >= 0 ? fmt::format("Lt {}", chosen) : "GemmEx";
  return best;
}

}  // namespace baton::bench
