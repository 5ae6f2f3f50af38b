// Products of few bits by our own kernels: INT4 weights for every M, FP8 for few tokens.
#include <fmt/core.h>

#include <algorithm>

#include "kernels/gemm/config.h"
#include "tests/bench/kernels_gpu/baseline.h"
#include "tests/bench/kernels_gpu/benches.h"
#include "tests/bench/kernels_gpu/few_bit_operands.h"

namespace baton::bench {
namespace {

namespace cuda = kernels::cuda;

// The head serves one row a sequence: large M would only measure time and memory.
constexpr int kMaxHeadRows = 256;

std::vector<int> TokensOf(const GpuBench& bench, const GemmShape& shape, int most) {
  std::vector<int> tokens;
  for (const int m : bench.options().tokens) {
    if (m <= most && (shape.name != "head" || m <= kMaxHeadRows)) tokens.push_back(m);
  }
  return tokens;
}

Measurement Row(const GemmShape& shape, int m, double weight_bytes, double activation_bytes) {
  return {.shape = fmt::format("{} {}x{}", shape.name, shape.n, shape.k),
          .m = m,
          .bytes = weight_bytes + m * (activation_bytes * shape.k + 2.0 * shape.n),
          .flops = 2.0 * m * shape.n * shape.k};
}

std::string Text(const cuda::GemmChoice& choice) {
  return fmt::format("{} {} split {}",
                     choice.kernel == cuda::GemmKernel::kW4A16Large ? "large" : "small",
                     choice.variant, choice.split);
}

void W4A16Shape(GpuBench& bench, const GemmShape& shape) {
  const std::vector<int> tokens = TokensOf(bench, shape, 1 << 17);
  if (tokens.empty()) return;
  const Int4Operands operands(shape, *std::max_element(tokens.begin(), tokens.end()));
  for (const int m : tokens) {
    const cuda::GemmW4A16Params params = operands.Params(m, bench.device().sm_count);
    Measurement row = Row(shape, m, static_cast<double>(operands.layout().bytes()), 2.0);
    row.op = "gemm_w4a16";
    row.flops_peak = PeakKind::kFp16;
    row.variant = "g128, " + Text(cuda::ChooseW4A16(params.sm_count, operands.Size(m)));
    row.us = bench.TimeUs(operands.copies(), [&](int copy, cudaStream_t stream) {
      cuda::GemmW4A16Params p = params;
      p.tiles = operands.Tiles(copy);
      p.stream = stream;
      return cuda::GemmW4A16(p);
    });
    row.cublas_fp16_us = bench.baseline().Time(shape, m).us;
    bench.Report(row);
  }
}

void Fp8SmallShape(GpuBench& bench, const GemmShape& shape) {
  const std::vector<int> tokens = TokensOf(bench, shape, cuda::kFp8SmallMaxTokens);
  if (tokens.empty()) return;
  const Fp8Operands operands(shape, *std::max_element(tokens.begin(), tokens.end()));
  const int sms = bench.device().sm_count;
  for (const int m : tokens) {
    for (const cuda::Fp8Mode mode : {cuda::Fp8Mode::kFastAccum, cuda::Fp8Mode::kExact}) {
      const cuda::GemmFp8Params params = operands.Params(m, mode);
      Measurement row = Row(shape, m, 1.0 * shape.n * shape.k, 1.0);
      row.op = "gemm_fp8_small";
      row.flops_peak = PeakKind::kFp8;
      row.variant = fmt::format("{}, {}", mode == cuda::Fp8Mode::kExact ? "exact" : "fast_accum",
                                Text(cuda::ChooseFp8(sms, operands.Size(m))));
      row.us = bench.TimeUs(operands.copies(), [&](int copy, cudaStream_t stream) {
        cuda::GemmFp8Params p = params;
        p.w = operands.Weights(copy);
        p.stream = stream;
        return cuda::GemmFp8Small(p, sms);
      });
      row.cublas_fp16_us = bench.baseline().Time(shape, m).us;
      bench.Report(row);
    }
  }
}

}  // namespace

void BenchGemmW4A16(GpuBench& bench) {
  for (const GemmShape& shape : bench.options().model.products()) W4A16Shape(bench, shape);
}
void BenchGemmFp8Small(GpuBench& bench) {
  for (const GemmShape& shape : bench.options().model.products()) Fp8SmallShape(bench, shape);
}

}  // namespace baton::bench
