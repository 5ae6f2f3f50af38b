// The ceilings that shares are given of.
#include <cublasLt.h>

#include <algorithm>
#include <vector>

#include "tests/bench/kernels_gpu/bench.h"
#include "tests/bench/kernels_gpu/fill.h"
#include "tests/gpu/support/memory.h"

namespace baton::bench {
namespace {

namespace cuda = kernels::cuda;

constexpr size_t kCopyBytes = size_t{1} << 30;
constexpr size_t kWorkspaceBytes = size_t{32} << 20;
constexpr int kEdge = 8192;
constexpr int kRuns = 12;

// Fastest of kRuns, in seconds; 0 if it does not run.
template <typename Call>
double Fastest(cudaStream_t stream, Call call) {
  cudaEvent_t start;
  cudaEvent_t stop;
  cuda::OrAbort(cudaEventCreate(&start), "event");
  cuda::OrAbort(cudaEventCreate(&stop), "event");
  float best = 0.0f;
  for (int i = 0; i < kRuns + 2; ++i) {
    cudaEventRecord(start, stream);
    if (!call()) break;
    cudaEventRecord(stop, stream);
    cuda::OrAbort(cudaStreamSynchronize(stream), "peak");
    float ms = 0.0f;
    cudaEventElapsedTime(&ms, start, stop);
    if (i >= 2) best = best == 0.0f ? ms : std::min(best, ms);
  }
  cudaEventDestroy(start);
  cudaEventDestroy(stop);
  return 1e-3 * best;
}

double MeasureCopy(cudaStream_t stream) {
  const cuda::DeviceBytes from(kCopyBytes);
  const cuda::DeviceBytes to(kCopyBytes);
  FillBytes(from.data(), kCopyBytes, 1);
  cuda::OrAbort(cudaDeviceSynchronize(), "fill");
  const double seconds = Fastest(stream, [&] {
    return cudaMemcpyAsync(to.data(), from.data(), kCopyBytes, cudaMemcpyDeviceToDevice, stream) ==
           cudaSuccess;
  });
  return 2.0 * kCopyBytes / seconds;
}

// FLOPS of the best of the library's first eight algorithms for an edge³ product.
double MeasureProduct(cudaStream_t stream, cudaDataType in, cudaDataType out) {
  const size_t in_bytes = in == CUDA_R_8F_E4M3 ? 1 : 2;
  const size_t count = static_cast<size_t>(kEdge) * kEdge;
  const cuda::DeviceBytes a(count * in_bytes);
  const cuda::DeviceBytes b(count * in_bytes);
  const cuda::DeviceBytes d(count * 2);
  const cuda::DeviceBytes workspace(kWorkspaceBytes);
  for (const cuda::DeviceBytes* operand : {&a, &b}) {
    if (in_bytes == 1) {
      FillE4m3(operand->data(), count, 2);
    } else {
      FillActivations(cuda::ActivationType::kFp16, operand->data(), count, 1.0f, 2);
    }
  }
  cuda::OrAbort(cudaDeviceSynchronize(), "fill");
  cublasLtHandle_t handle = nullptr;
  if (cublasLtCreate(&handle) != CUBLAS_STATUS_SUCCESS) return 0.0;
  cublasLtMatmulDesc_t product;
  cublasLtMatmulDescCreate(&product, CUBLAS_COMPUTE_32F, CUDA_R_32F);
  const cublasOperation_t transposed = CUBLAS_OP_T;
  cublasLtMatmulDescSetAttribute(product, CUBLASLT_MATMUL_DESC_TRANSA, &transposed,
                                 sizeof(transposed));
  const int8_t fast = in == CUDA_R_8F_E4M3 ? 1 : 0;
  cublasLtMatmulDescSetAttribute(product, CUBLASLT_MATMUL_DESC_FAST_ACCUM, &fast, sizeof(fast));
  cublasLtMatrixLayout_t in_layout;
  cublasLtMatrixLayout_t out_layout;
  cublasLtMatrixLayoutCreate(&in_layout, in, kEdge, kEdge, kEdge);
  cublasLtMatrixLayoutCreate(&out_layout, out, kEdge, kEdge, kEdge);
  cublasLtMatmulPreference_t preference;
  cublasLtMatmulPreferenceCreate(&preference);
  cublasLtMatmulPreferenceSetAttribute(preference, CUBLASLT_MATMUL_PREF_MAX_WORKSPACE_BYTES,
                                       &kWorkspaceBytes, sizeof(kWorkspaceBytes));
  std::vector<cublasLtMatmulHeuristicResult_t> found(8);
  int count_found = 0;
  cublasLtMatmulAlgoGetHeuristic(handle, product, in_layout, in_layout, out_layout, out_layout,
                                 preference, 8, found.data(), &count_found);
  const float one = 1.0f;
  const float zero = 0.0f;
  double best = 0.0;
  for (int i = 0; i < count_found; ++i) {
    const double seconds = Fastest(stream, [&] {
      return cublasLtMatmul(handle, product, &one, a.data(), in_layout, b.data(), in_layout, &zero,
                            d.data(), out_layout, d.data(), out_layout, &found[i].algo,
                            workspace.data(), kWorkspaceBytes, stream) == CUBLAS_STATUS_SUCCESS;
    });
    if (seconds > 0.0) best = std::max(best, 2.0 * kEdge * kEdge * kEdge / seconds);
  }
  cublasLtMatmulPreferenceDestroy(preference);
  cublasLtMatrixLayoutDestroy(in_layout);
  cublasLtMatrixLayoutDestroy(out_layout);
  cublasLtMatmulDescDestroy(product);
  cublasLtDestroy(handle);
  return best;
}

}  // namespace

GpuPeaks MeasurePeaks(cudaStream_t stream) {
  return {.copy = MeasureCopy(stream),
          .fp16_flops = MeasureProduct(stream, CUDA_R_16F, CUDA_R_16F),
          .fp8_flops = MeasureProduct(stream, CUDA_R_8F_E4M3, CUDA_R_16BF)};
}

}  // namespace baton::bench
