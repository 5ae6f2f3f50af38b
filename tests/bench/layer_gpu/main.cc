// layer_gpu: one decoder layer of a model, and its head, as one CUDA graph, beside the sum of its
// parts.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>
#include <map>

#include "kernels/kv_page/kv_format.h"
#include "kernels/norm/cuda.h"
#include "kernels/sampling/cuda.h"
#include "tests/bench/kernels_gpu/fill.h"
#include "tests/bench/layer_gpu/layer.h"

namespace baton::bench {
namespace {

namespace cuda = kernels::cuda;

struct Options {
  std::vector<std::string> precisions = {"fp16", "w4a16", "w8a8_fp8"};
  std::vector<std::string> kv = {"fp16", "int8", "int4"};
  std::vector<int> batches = {1, 16, 64};
  std::vector<int> prefill = {2048};
  int context = 1024;
};

const std::map<std::string, Precision> kPrecisions = {
    {"fp16", Precision::kFp16}, {"w4a16", Precision::kW4A16}, {"w8a8_fp8", Precision::kW8A8Fp8}};

// The layer in one graph, then every step in a graph of its own.
void MeasureLayer(GpuBench& bench, const LayerCase& layer, const std::string& kv) {
  DecoderLayer decoder(bench, layer);
  Measurement row{
      .op = layer.prefill ? "layer_prefill" : "layer_decode",
      .shape = fmt::format("context {}", layer.context),
      .m = layer.rows,
      .variant = fmt::format("{}, {} KV", Name(layer.precision), kv),
      .bytes = decoder.weight_bytes() + decoder.kv_bytes(),
      .flops = decoder.product_flops(),
      .flops_peak = layer.precision == Precision::kW8A8Fp8 ? PeakKind::kFp8 : PeakKind::kFp16};
  row.note = decoder.Prepare();
  if (!row.note.empty()) {
    row.note = "failed: " + row.note;
    return bench.Report(row);
  }
  const std::vector<LayerStep> steps = decoder.Steps();
  row.us = bench.TimeUs(decoder.copies(), [&](int copy, cudaStream_t stream) {
    for (const LayerStep& step : steps) {
      if (const cudaError_t error = step.call(copy, stream); error != cudaSuccess) return error;
    }
    return cudaSuccess;
  });
  if (row.us == 0.0) return bench.Report(row);
  if (!decoder.Finite()) row.note = "NOT FINITE; ";
  double sum = 0.0;
  std::string parts;
  for (const LayerStep& step : steps) {
    const double us = bench.TimeUs(decoder.copies(), step.call);
    sum += us;
    parts += fmt::format(" {} {:.1f}", step.name, us);
  }
  row.note += fmt::format("parts {:.1f}:{}", sum, parts);
  bench.Report(row);
}

// Final norm, product with the vocabulary in fp16, greedy token with its log-probability.
void MeasureHead(GpuBench& bench, int rows) {
  const ModelShape& model = bench.options().model;
  const GemmShape shape = model.products().back();
  const ProductContext context(bench.device());
  const std::unique_ptr<LayerProduct> head = MakeProduct(context, Precision::kFp16, shape, 1);
  const cuda::DeviceBytes x(size_t{2} * rows * model.hidden);
  const cuda::DeviceBytes normed(x.bytes());
  const cuda::DeviceBytes weight(size_t{2} * model.hidden);
  const cuda::DeviceBytes logits(size_t{2} * rows * shape.n);
  const cuda::DeviceArray<int32_t> tokens(rows);
  const cuda::DeviceArray<float> logprobs(rows);
  FillActivations(kLayerType, x.data(), x.bytes() / 2, 1.0f, 1);
  FillActivations(kLayerType, normed.data(), normed.bytes() / 2, 1.0f, 2);
  FillActivations(kLayerType, weight.data(), model.hidden, 0.5f, 3);
  cuda::OrAbort(cudaDeviceSynchronize(), "fill");
  cuda::OrAbort(head->Prepare({.a = normed.data()}, logits.data(), rows, bench.stream()), "head");
  const double us = bench.TimeUs(1, [&](int, cudaStream_t stream) {
    cudaError_t error = cuda::RmsNorm({.type = kLayerType,
                                       .x = x.data(),
                                       .x_stride = model.hidden,
                                       .weight = weight.data(),
                                       .out = normed.data(),
                                       .rows = rows,
                                       .dim = model.hidden,
                                       .stream = stream});
    if (error == cudaSuccess) {
      error = head->Run(0, {.a = normed.data()}, logits.data(), rows, stream);
    }
    if (error != cudaSuccess) return error;
    return cuda::SampleGreedyRows({.type = kLayerType,
                                   .logits = logits.data(),
                                   .stride = shape.n,
                                   .tokens = tokens.data(),
                                   .logprobs = logprobs.data(),
                                   .rows = rows,
                                   .vocab = shape.n,
                                   .stream = stream});
  });
  bench.Report({.op = "head",
                .shape = fmt::format("{}x{}", shape.n, shape.k),
                .m = rows,
                .variant = "fp16, norm and greedy token",
                .us = us,
                .bytes = 2.0 * shape.n * shape.k,
                .flops = 2.0 * rows * shape.n * shape.k,
                .flops_peak = PeakKind::kFp16});
}

void Measure(GpuBench& bench, const Options& options) {
  for (const std::string& name : options.precisions) {
    const Precision precision = kPrecisions.at(name);
    for (const std::string& kv : options.kv) {
      const kernels::KvFormats formats = *kernels::ParseKvFormats(kv);
      for (const int batch : options.batches) {
        MeasureLayer(bench, {precision, formats, false, batch, options.context}, kv);
      }
      for (const int tokens : options.prefill) {
        MeasureLayer(bench, {precision, formats, true, tokens, tokens}, kv);
      }
    }
  }
  for (const int batch : options.batches) MeasureHead(bench, batch);
}

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) {
  using namespace baton::bench;
  CLI::App app("Times a decoder layer as one CUDA graph, beside the sum of its parts.");
  std::string shapes = "llama3-8b";
  std::string json_file;
  Options options;
  BenchOptions bench_options;
  app.add_option("--shapes", shapes, "llama3-8b, or a JSON file with a model's sizes");
  app.add_option("--json", json_file, "also write the measurements to this file");
  app.add_option("--precisions", options.precisions, "of fp16, w4a16, w8a8_fp8")
      ->delimiter(',')
      ->check(CLI::IsMember(kPrecisions));
  app.add_option("--kv", options.kv, "formats of the cache")
      ->delimiter(',')
      ->check([](const std::string& name) {
        return baton::kernels::ParseKvFormats(name) ? std::string() : "unknown format " + name;
      });
  app.add_option("--batches", options.batches, "sequences of a decode step; 0: none")
      ->delimiter(',')
      ->check(CLI::Range(0, 4096));
  app.add_option("--prefill", options.prefill, "tokens of a prefill; 0: none")
      ->delimiter(',')
      ->check(CLI::Range(0, 1 << 16));
  app.add_option("--context", options.context, "tokens of a decoding sequence")
      ->check(CLI::Range(1, 1 << 20));
  CLI11_PARSE(app, argc, argv);
  std::erase(options.batches, 0);
  std::erase(options.prefill, 0);

  std::string problem;
  bench_options.model = LoadShape(shapes, &problem);
  bench_options.tokens = {1};
  baton::kernels::cuda::DeviceTraits device;
  if (problem.empty()) {
    const cudaError_t error = baton::kernels::cuda::QueryDevice(0, &device);
    problem = error != cudaSuccess ? fmt::format("no GPU to measure: {}", cudaGetErrorString(error))
                                   : DeviceProblem(device);
  }
  if (!problem.empty()) {
    fmt::print(stderr, "{}\n", problem);
    return 1;
  }
  GpuBench bench(bench_options, device);
  Measure(bench, options);
  if (!json_file.empty()) {
    std::ofstream file(json_file);
    file << bench.Json() << "\n";
    if (!file) {
      fmt::print(stderr, "--json: cannot write '{}'\n", json_file);
      return 1;
    }
  }
  return 0;
}
