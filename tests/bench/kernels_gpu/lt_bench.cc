// Products by cuBLASLt: the FP16 baseline itself, our f16 product, FP8 in both modes.
#include <fmt/core.h>

#include <algorithm>

#include "tests/bench/kernels_gpu/baseline.h"
#include "tests/bench/kernels_gpu/benches.h"
#include "tests/bench/kernels_gpu/fill.h"

namespace baton::bench {
namespace {

namespace cuda = kernels::cuda;

// The head serves one row a sequence: large M would only measure time and memory.
constexpr int kMaxHeadRows = 256;
constexpr size_t kFlushBytes = size_t{128} << 20;

std::vector<int> TokensOf(const GpuBench& bench, const GemmShape& shape) {
  std::vector<int> tokens;
  for (const int m : bench.options().tokens) {
    if (shape.name != "head" || m <= kMaxHeadRows) tokens.push_back(m);
  }
  return tokens;
}

Measurement ProductRow(const GemmShape& shape, int m, double weight_bytes) {
  return {.shape = fmt::format("{} {}x{}", shape.name, shape.n, shape.k),
          .m = m,
          .bytes = weight_bytes + 2.0 * m * (shape.k + shape.n),
          .flops = 2.0 * m * shape.n * shape.k};
}

struct LtWorkspace {
  LtWorkspace() : bytes(cuda::CublasLt::kWorkspaceBytes), flush(kFlushBytes) {
    cuda::OrAbort(cuda::CublasLt::Create(bytes.data(), bytes.bytes(), &lt), "cuBLASLt");
  }
  cuda::LtTuning tuning() const {
    return {.flush = flush.data(), .flush_bytes = flush.bytes(), .widen = true};
  }

  cuda::DeviceBytes bytes;
  cuda::DeviceBytes flush;
  std::unique_ptr<cuda::CublasLt> lt;
};

void F16Shape(GpuBench& bench, const GemmShape& shape) {
  const std::vector<int> tokens = TokensOf(bench, shape);
  if (tokens.empty()) return;
  const LtWorkspace workspace;
  const ProductOperands operands(shape, *std::max_element(tokens.begin(), tokens.end()), 2.0);
  FillActivations(cuda::ActivationType::kFp16, operands.weight(0),
                  operands.weight_bytes() / 2 * operands.copies(), 0.02f, 1);
  for (const int m : tokens) {
    FillActivations(cuda::ActivationType::kFp16, operands.activations(),
                    static_cast<size_t>(m) * shape.k, 1.0f, 2);
    cuda::OrAbort(cudaDeviceSynchronize(), "fill");
    const auto params = [&](int copy, cudaStream_t stream) {
      return cuda::GemmF16Params{.m = m,
                                 .n = shape.n,
                                 .k = shape.k,
                                 .a = operands.activations(),
                                 .lda = shape.k,
                                 .w = operands.weight(copy),
                                 .out = operands.out(),
                                 .ldo = shape.n,
                                 .stream = stream};
    };
    const CublasBaseline::Best& baseline = bench.baseline().Time(shape, m);
    Measurement row = ProductRow(shape, m, 2.0 * shape.n * shape.k);
    row.op = "gemm_cublas_fp16";
    row.variant = "baseline, " + baseline.how;
    row.us = baseline.us;
    row.flops_peak = PeakKind::kFp16;
    row.cublas_fp16_us = baseline.us;
    bench.Report(row);
    const cudaError_t tuned = workspace.lt->Tune(params(0, bench.stream()), workspace.tuning());
    row.op = "gemm_f16";
    row.variant = "fp16, tuned";
    row.us = bench.TimeUs(operands.copies(), [&](int copy, cudaStream_t stream) {
      return tuned != cudaSuccess ? tuned : cuda::GemmF16(*workspace.lt, params(copy, stream));
    });
    bench.Report(row);
  }
}

void Fp8Shape(GpuBench& bench, const GemmShape& shape) {
  const std::vector<int> tokens = TokensOf(bench, shape);
  if (tokens.empty()) return;
  const LtWorkspace workspace;
  const int max_m = *std::max_element(tokens.begin(), tokens.end());
  const ProductOperands operands(shape, max_m, 1.0);
  FillE4m3(operands.weight(0), operands.weight_bytes() * operands.copies(), 3);
  const cuda::DeviceArray<float> a_scale(max_m);
  const cuda::DeviceArray<float> w_scale(shape.n);
  FillFloats(a_scale.data(), max_m, 0.005f, 0.01f, 4);
  FillFloats(w_scale.data(), shape.n, 0.0001f, 0.0005f, 5);
  for (const int m : tokens) {
    FillE4m3(operands.activations(), static_cast<size_t>(m) * shape.k, 6);
    cuda::OrAbort(cudaDeviceSynchronize(), "fill");
    for (const cuda::Fp8Mode mode : {cuda::Fp8Mode::kFastAccum, cuda::Fp8Mode::kExact}) {
      const auto params = [&](int copy, cudaStream_t stream) {
        return cuda::GemmFp8Params{.m = m,
                                   .n = shape.n,
                                   .k = shape.k,
                                   .mode = mode,
                                   .a = static_cast<const uint8_t*>(operands.activations()),
                                   .a_scale = a_scale.data(),
                                   .w = static_cast<const uint8_t*>(operands.weight(copy)),
                                   .w_scale = w_scale.data(),
                                   .out = operands.out(),
                                   .ldo = shape.n,
                                   .stream = stream};
      };
      const cudaError_t tuned = workspace.lt->Tune(params(0, bench.stream()), workspace.tuning());
      Measurement row = ProductRow(shape, m, 1.0 * shape.n * shape.k);
      row.op = "gemm_fp8_cublaslt";
      row.variant = mode == cuda::Fp8Mode::kExact ? "exact" : "fast_accum";
      row.flops_peak = PeakKind::kFp8;
      row.us = bench.TimeUs(operands.copies(), [&](int copy, cudaStream_t stream) {
        return tuned != cudaSuccess ? tuned
                                    : cuda::GemmFp8Large(*workspace.lt, params(copy, stream));
      });
      row.cublas_fp16_us = bench.baseline().Time(shape, m).us;
      bench.Report(row);
    }
  }
}

}  // namespace

void BenchGemmF16(GpuBench& bench) {
  for (const GemmShape& shape : bench.options().model.products()) F16Shape(bench, shape);
}
void BenchGemmFp8(GpuBench& bench) {
  for (const GemmShape& shape : bench.options().model.products()) Fp8Shape(bench, shape);
}

}  // namespace baton::bench
