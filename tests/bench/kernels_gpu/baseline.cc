#include "tests/bench/kernels_gpu/baseline.h"

#include <cublas_v2.h>
#include <fmt/core.h>

#include <algorithm>

#include "tests/bench/kernels_gpu/fill.h"

namespace baton::bench {
namespace {

namespace cuda = kernels::cuda;

constexpr int kRetimedRows = 1024;
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
  const auto [place, is_new] = known_.try_emplace(std::make_tuple(shape.n, shape.k, m));
  Best& best = place->second;
  if (!is_new && m < kRetimedRows) return best;
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
  if (is_new) Choose(m, &best);
  Measure(m, &best);
  return best;
}

cuda::GemmF16Params CublasBaseline::Params(int m, int copy, cudaStream_t stream) const {
  const GemmShape& shape = operands_->shape();
  return {.m = m,
          .n = shape.n,
          .k = shape.k,
          .a = operands_->activations(),
          .lda = shape.k,
          .w = operands_->weight(copy),
          .out = operands_->out(),
          .ldo = shape.n,
          .stream = stream};
}

void CublasBaseline::Choose(int m, Best* best) {
  const int candidates = lt_->Candidates(Params(m, 0, nullptr));
  double fastest = 0.0;
  int chosen = -1;
  for (int i = handle_ != nullptr ? -1 : 0; i < candidates; ++i) {
    best->algorithm = i;
    Measure(m, best, kCandidateReplays);
    if (best->us > 0.0 && (fastest == 0.0 || best->us < fastest)) {
      fastest = best->us;
      chosen = i;
    }
  }
  best->algorithm = chosen;
  best->how = chosen >= 0 ? fmt::format("Lt {}", chosen) : "GemmEx";
}

void CublasBaseline::Measure(int m, Best* best, int replays) {
  if (best->algorithm >= 0) lt_->Choose(Params(m, 0, nullptr), best->algorithm);
  best->us = bench_.TimeUs(
      operands_->copies(),
      [&](int copy, cudaStream_t stream) {
        return best->algorithm >= 0
                   ? cuda::GemmF16(*lt_, Params(m, copy, stream))
                   : GemmEx(static_cast<cublasHandle_t>(handle_), *operands_, m, copy, stream);
      },
      replays);
}

}  // namespace baton::bench
