// Norm, activation, quantization, embedding, greedy sampling: shares of the copy bandwidth.
#include <algorithm>

#include "kernels/activation/cuda.h"
#include "kernels/embedding/cuda.h"
#include "kernels/norm/cuda.h"
#include "kernels/quantize/cuda.h"
#include "kernels/sampling/cuda.h"
#include "tests/bench/kernels_gpu/benches.h"
#include "tests/bench/kernels_gpu/fill.h"
#include "tests/gpu/support/memory.h"

namespace baton::bench {
namespace {

namespace cuda = kernels::cuda;

constexpr cuda::ActivationType kType = cuda::ActivationType::kFp16;
// Few rows come from the L2 in a forward pass too: their times are latencies.
constexpr int kMaxCopies = 32;
constexpr int kRows[] = {1, 64, 2048, 8192};
constexpr int kGreedyRows[] = {1, 16, 64, 256};

int ActivationCopies(double bytes) { return std::min(GpuBench::CopiesFor(bytes), kMaxCopies); }

// `copies` arrays of `count` random activations.
class Rotating {
 public:
  Rotating(int copies, size_t count, uint32_t seed) : count_(count), bytes_(copies * count * 2) {
    FillActivations(kType, bytes_.data(), copies * count, 1.0f, seed);
  }
  uint16_t* at(int copy) const { return static_cast<uint16_t*>(bytes_.data()) + copy * count_; }

 private:
  size_t count_;
  cuda::DeviceBytes bytes_;
};

struct Fp8Out {
  Fp8Out(int copies, int rows, int dim)
      : codes(static_cast<size_t>(copies) * rows * dim),
        scale(rows),
        stride(size_t{1} * rows * dim) {}
  cuda::Fp8Rows at(int copy) const { return {codes.data() + copy * stride, scale.data()}; }

  cuda::DeviceArray<uint8_t> codes;
  cuda::DeviceArray<float> scale;
  size_t stride;
};

void Norm(GpuBench& bench, int rows, int dim, bool residual, bool fp8) {
  const double values = static_cast<double>(rows) * dim;
  const double bytes = values * (2 + (residual ? 4 : 0) + (fp8 ? 1 : 2)) + 2.0 * dim;
  const int copies = ActivationCopies(bytes);
  const size_t count = static_cast<size_t>(rows) * dim;
  const Rotating x(copies, count, 1);
  const Rotating stream_in(copies, count, 2);
  const Rotating out(copies, count, 3);
  const Rotating weight(1, dim, 4);
  const Fp8Out codes(copies, rows, dim);
  const double us = bench.TimeUs(copies, [&](int copy, cudaStream_t stream) {
    return cuda::RmsNorm({.type = kType,
                          .x = x.at(copy),
                          .x_stride = dim,
                          .residual = residual ? stream_in.at(copy) : nullptr,
                          .weight = weight.at(0),
                          .out = fp8 ? nullptr : out.at(copy),
                          .fp8 = fp8 ? codes.at(copy) : cuda::Fp8Rows{},
                          .rows = rows,
                          .dim = dim,
                          .stream = stream});
  });
  bench.Report({.op = "rms_norm",
                .shape = std::to_string(dim),
                .m = rows,
                .variant = std::string(residual ? "residual, " : "") + (fp8 ? "fp8" : "fp16"),
                .us = us,
                .bytes = bytes});
}

void Swiglu(GpuBench& bench, int rows, int dim, bool fp8) {
  const double values = static_cast<double>(rows) * dim;
  const double bytes = values * (fp8 ? 5 : 6);
  const int copies = ActivationCopies(bytes);
  const size_t count = static_cast<size_t>(rows) * dim;
  const Rotating in(copies, 2 * count, 1);
  const Rotating out(copies, count, 2);
  const Fp8Out codes(copies, rows, dim);
  const double us = bench.TimeUs(copies, [&](int copy, cudaStream_t stream) {
    return cuda::SwiGlu({.type = kType,
                         .gate = in.at(copy),
                         .up = in.at(copy) + dim,
                         .in_stride = 2 * dim,
                         .out = fp8 ? nullptr : out.at(copy),
                         .fp8 = fp8 ? codes.at(copy) : cuda::Fp8Rows{},
                         .rows = rows,
                         .dim = dim,
                         .stream = stream});
  });
  bench.Report({.op = "swiglu",
                .shape = std::to_string(dim),
                .m = rows,
                .variant = fp8 ? "fp8" : "fp16",
                .us = us,
                .bytes = bytes});
}

void Quantize(GpuBench& bench, int rows, int dim) {
  const double bytes = 3.0 * rows * dim;
  const int copies = ActivationCopies(bytes);
  const Rotating in(copies, static_cast<size_t>(rows) * dim, 1);
  const Fp8Out codes(copies, rows, dim);
  const double us = bench.TimeUs(copies, [&](int copy, cudaStream_t stream) {
    return cuda::QuantizeFp8Rows({.type = kType,
                                  .x = in.at(copy),
                                  .x_stride = dim,
                                  .out = codes.at(copy),
                                  .rows = rows,
                                  .dim = dim,
                                  .stream = stream});
  });
  bench.Report({.op = "quantize_rows",
                .shape = std::to_string(dim),
                .m = rows,
                .variant = "attention output, fp8",
                .us = us,
                .bytes = bytes});
}

void Embed(GpuBench& bench, int rows, int vocab, int dim) {
  const double bytes = 4.0 * rows * dim;
  const int copies = ActivationCopies(bytes);
  const Rotating table(1, static_cast<size_t>(vocab) * dim, 1);
  const Rotating out(copies, static_cast<size_t>(rows) * dim, 2);
  std::vector<int32_t> ids(static_cast<size_t>(copies) * rows);
  uint64_t state = 88172645463325252ull;
  for (int32_t& id : ids) {
    state = state * 6364136223846793005ull + 1442695040888963407ull;
    id = static_cast<int32_t>((state >> 33) % vocab);
  }
  const cuda::DeviceArray<int32_t> tokens(ids);
  const double us = bench.TimeUs(copies, [&](int copy, cudaStream_t stream) {
    return cuda::Embedding({.type = kType,
                            .tokens = tokens.data() + static_cast<size_t>(copy) * rows,
                            .table = table.at(0),
                            .out = out.at(copy),
                            .rows = rows,
                            .vocab = vocab,
                            .dim = dim,
                            .stream = stream});
  });
  bench.Report({.op = "embedding",
                .shape = std::to_string(dim),
                .m = rows,
                .variant = "fp16",
                .us = us,
                .bytes = bytes});
}

void Greedy(GpuBench& bench, int rows, int vocab) {
  const double bytes = 2.0 * rows * vocab;
  const int copies = ActivationCopies(bytes);
  const Rotating logits(copies, static_cast<size_t>(rows) * vocab, 1);
  const cuda::DeviceArray<int32_t> tokens(rows);
  const cuda::DeviceArray<float> logprobs(rows);
  const double us = bench.TimeUs(copies, [&](int copy, cudaStream_t stream) {
    return cuda::SampleGreedyRows({.type = kType,
                                   .logits = logits.at(copy),
                                   .stride = vocab,
                                   .tokens = tokens.data(),
                                   .logprobs = logprobs.data(),
                                   .rows = rows,
                                   .vocab = vocab,
                                   .stream = stream});
  });
  bench.Report({.op = "sample_greedy",
                .shape = std::to_string(vocab),
                .m = rows,
                .variant = "token and log-probability",
                .us = us,
                .bytes = bytes});
}

}  // namespace

void BenchElementwise(GpuBench& bench) {
  const ModelShape& model = bench.options().model;
  for (const int rows : kRows) {
    Embed(bench, rows, model.vocab, model.hidden);
    for (const bool residual : {false, true}) {
      for (const bool fp8 : {false, true}) Norm(bench, rows, model.hidden, residual, fp8);
    }
    Quantize(bench, rows, model.heads * model.head_dim);
    for (const bool fp8 : {false, true}) Swiglu(bench, rows, model.ffn, fp8);
  }
  for (const int rows : kGreedyRows) Greedy(bench, rows, (model.vocab + 7) / 8 * 8);
}

}  // namespace baton::bench
