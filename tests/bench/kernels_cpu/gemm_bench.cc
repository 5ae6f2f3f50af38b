// Speed of the matrix products: time, operations per second and bytes of weights per second, each
// with its share of this machine's measured peak.
//
//   gemm_bench [--threads=2] [--scheme=w4a8] [--repeats=30] [--target=AVX2]
//
// Every row multiplies with several copies of the matrix in turn, as the layers of a model do, so
// that weights come from where a model of that size would have them and not from the nearest cache.
#include <algorithm>
#include <cstdlib>
#include <cstring>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "hwy/highway.h"
#include "kernels/gemm/gemm.h"
#include "tests/bench/kernels_cpu/machine.h"
#include "tests/bench/kernels_cpu/table.h"

namespace baton::bench {
namespace {

using kernels::GemmParams;
using kernels::PackedWeight;
using kernels::WeightScheme;

struct Options {
  int threads = 2;
  int repeats = 30;
  std::string scheme;  // empty: all
};

struct Shape {
  const char* name;
  int64_t n;
  int64_t k;
  int copies;
};

// The products of the 27 M parameter reference model (8 layers, tied embedding), and one matrix of
// a 7 B model.
constexpr Shape kShapes[] = {
    {"qkv", 1024, 512, 8},  {"attention out", 512, 512, 8}, {"gate + up", 3072, 512, 8},
    {"down", 512, 1536, 8}, {"lm_head", 4096, 512, 1},      {"7B layer", 4096, 4096, 1},
};
constexpr int kModelShapes = 5;

struct Form {
  const char* name;
  WeightScheme scheme;
  int64_t group;
};
constexpr Form kForms[] = {
    {"fp32", WeightScheme::kFp32, 0},          {"fp16", WeightScheme::kFp16, 0},
    {"bf16", WeightScheme::kBf16, 0},          {"w8a8", WeightScheme::kW8A8, 0},
    {"w4a16 g128", WeightScheme::kW4A16, 128}, {"w4a8 g128", WeightScheme::kW4A8, 128},
    {"w4a8 g32", WeightScheme::kW4A8, 32},
};

PackedWeight RandomWeight(const Form& form, int64_t n, int64_t k) {
  std::mt19937 rng(1);
  kernels::WeightView view{.n = n, .k = k};
  std::vector<float> dense;
  std::vector<int8_t> codes;
  std::vector<uint16_t> scales;
  if (form.scheme <= WeightScheme::kBf16) {
    std::normal_distribution<float> normal;
    for (int64_t i = 0; i < n * k; ++i) dense.push_back(normal(rng));
    view.dense = dense.data();
  } else {
    const bool int8 = form.scheme == WeightScheme::kW8A8;
    std::uniform_int_distribution<int> code(int8 ? -127 : -8, int8 ? 127 : 7);
    for (int64_t i = 0; i < n * k; ++i) codes.push_back(static_cast<int8_t>(code(rng)));
    view.group = form.group == 0 ? k : form.group;
    scales.assign(static_cast<size_t>(n * ((k + view.group - 1) / view.group)), 0x2000);
    view.codes_type = int8 ? kernels::CodeType::kInt8 : kernels::CodeType::kInt4;
    view.codes = codes.data();
    view.scales = scales.data();
    view.scale_type = kernels::ScalarType::kFp16;
  }
  return kernels::Pack(view, form.scheme);
}

struct Activations {
  Activations(int64_t m, int64_t k)
      : x(static_cast<size_t>(m * k), 0.5f),
        codes(static_cast<size_t>(m * k), 3),
        scale(static_cast<size_t>(m), 0.01f),
        sums(static_cast<size_t>(m * k / kernels::kActivationBlock), 96) {}
  std::vector<float> x;
  std::vector<int8_t> codes;
  std::vector<float> scale;
  std::vector<int32_t> sums;
};

double SecondsPerProduct(const Options& options, const std::vector<PackedWeight>& weights,
                         int64_t m) {
  const int64_t k = weights.front().k();
  Activations a(m, k);
  std::vector<float> out(static_cast<size_t>(m * weights.front().n()));
  GemmParams p;
  p.m = m;
  p.a = a.x.data();
  p.lda = k;
  p.quantized = {a.codes.data(), a.scale.data(), a.sums.data(), k};
  p.out = out.data();
  p.ldo = weights.front().n();
  const double seconds = FastestRun(options.threads, options.repeats, [&](int part, int parts) {
    for (const PackedWeight& w : weights) {
      GemmParams mine = p;
      mine.w = &w;
      GemmCpu(mine, part, parts);
    }
  });
  return seconds / static_cast<double>(weights.size());
}

void RunForm(const Options& options, const Form& form, const Peaks& peaks, const Table& table) {
  constexpr int64_t kBatches[] = {1, 8, 32, 512};
  double model_seconds[4] = {};
  for (int s = 0; s < static_cast<int>(std::size(kShapes)); ++s) {
    const Shape& shape = kShapes[s];
    std::vector<PackedWeight> weights;
    for (int i = 0; i < shape.copies; ++i) weights.push_back(RandomWeight(form, shape.n, shape.k));
    for (int b = 0; b < 4; ++b) {
      const int64_t m = kBatches[b];
      const double seconds = SecondsPerProduct(options, weights, m);
      // Prefill needs the logits of one position only.
      if (s < kModelShapes && !(s == kModelShapes - 1 && m > 32)) {
        model_seconds[b] += seconds * shape.copies;
      }
      const double ops = 2.0 * static_cast<double>(m * shape.n * shape.k);
      const double bytes = static_cast<double>(weights.front().bytes());
      const bool integer = TakesQuantizedActivations(form.scheme);
      table.Row({fmt::format("{} {}", form.name, shape.name), fmt::format("{}", m),
                 fmt::format("{}", shape.n), fmt::format("{}", shape.k), Number(seconds * 1e6),
                 Number(ops / seconds * 1e-9),
                 Percent(ops / seconds / (integer ? peaks.int8_ops : peaks.flops)),
                 Number(bytes / seconds * 1e-9), Percent(bytes / seconds / peaks.read_cache)});
    }
  }
  for (int b = 0; b < 4; ++b) {
    table.Row({fmt::format("{} model, tokens/s", form.name), fmt::format("{}", kBatches[b]), "", "",
               Number(model_seconds[b] * 1e6),
               Number(static_cast<double>(kBatches[b]) / model_seconds[b], 0), "", "", ""});
  }
}

int Main(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view arg = argv[i];
    const std::string value(arg.substr(std::min(arg.find('=') + 1, arg.size())));
    if (arg.starts_with("--threads=")) {
      options.threads = std::max(1, std::atoi(value.c_str()));
    } else if (arg.starts_with("--repeats=")) {
      options.repeats = std::max(1, std::atoi(value.c_str()));
    } else if (arg.starts_with("--scheme=")) {
      options.scheme = value;
    } else if (arg.starts_with("--target=")) {
      for (int64_t target : hwy::SupportedAndGeneratedTargets()) {
        if (value == hwy::TargetName(target)) hwy::SetSupportedTargetsForTest(target);
      }
    } else {
      fmt::print(stderr, "usage: {} [--threads=N] [--repeats=N] [--scheme=S] [--target=T]\n",
                 argv[0]);
      return 2;
    }
  }
  const Peaks peaks = MeasurePeaks(options.threads);
  fmt::print(
      "target {}, {} threads; peaks: {:.0f} GFLOP/s fp32, {:.0f} GOP/s INT8, {:.0f} GB/s from "
      "16 MiB, {:.0f} GB/s from 512 MiB\n",
      kernels::DispatchTarget(), options.threads, peaks.flops * 1e-9, peaks.int8_ops * 1e-9,
      peaks.read_cache * 1e-9, peaks.read_memory * 1e-9);
  const Table table({"product", "M", "N", "K", "us", "GOP/s", "of peak", "GB/s", "of 16 MiB"});
  for (const Form& form : kForms) {
    if (options.scheme.empty() || std::string_view(form.name).starts_with(options.scheme)) {
      RunForm(options, form, peaks, table);
    }
  }
  return 0;
}

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) { return baton::bench::Main(argc, argv); }
