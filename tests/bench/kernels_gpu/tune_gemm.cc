// tune_gemm: times every kernel and layout of the products of few bits and prints the tables of
// kernels/gemm/config_tables.cc for this device. What a table row says serves up to its M.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <vector>

#include "tests/bench/kernels_gpu/few_bit_operands.h"

namespace baton::bench {
namespace {

namespace cuda = kernels::cuda;

struct Candidate {
  cuda::GemmChoice choice;
  double us = 0.0;
};

// Every choice that fits, and may be worth a measurement: enough blocks to use half of the
// multiprocessors unless nothing has them, and not so many clusters that most wait.
std::vector<cuda::GemmChoice> Choices(cuda::GemmKernel kernel, int variants, int sms,
                                      const cuda::GemmSize& size) {
  std::vector<cuda::GemmChoice> choices;
  for (int variant = 0; variant < variants; ++variant) {
    for (const int split : {1, 2, 3, 4, 5, 8}) {
      for (const int shared_kib : {75, 112, 226}) {
        if (shared_kib == 75 && kernel != cuda::GemmKernel::kFp8Small) continue;
        const cuda::GemmChoice choice = {kernel, variant, split, shared_kib};
        cuda::GemmPlan plan;
        if (cuda::PlanGemm(choice, sms, size, &plan) != nullptr) continue;
        if (split > 1 && plan.blocks > 2 * sms) continue;
        if (plan.blocks < sms / 2 && split < 8 && size.n >= 4096) continue;
        choices.push_back(choice);
      }
    }
  }
  return choices;
}

// Whether a variant for far more tokens than there are would only waste work.
bool Oversized(const cuda::GemmChoice& choice, int m) {
  switch (choice.kernel) {
    case cuda::GemmKernel::kW4A16Small:
      return cuda::kSmallVariants[choice.variant].tokens >= m + 8;
    case cuda::GemmKernel::kW4A16Large: {
      const int tokens = cuda::kLargeVariants[choice.variant].tokens;
      return (tokens >= 2 * m && tokens > 32) || (m > 256 && (tokens < 128 || choice.split > 1)) ||
             (m > 64 && tokens < 64);
    }
    case cuda::GemmKernel::kFp8Small: {
      const int tokens = cuda::kFp8Variants[choice.variant].tokens;
      return tokens >= 2 * m && tokens > 8;
    }
  }
  return false;
}

const char* NameOf(cuda::GemmKernel kernel) {
  switch (kernel) {
    case cuda::GemmKernel::kW4A16Small:
      return "kSmall";
    case cuda::GemmKernel::kW4A16Large:
      return "kLarge";
    case cuda::GemmKernel::kFp8Small:
      return "kFp8";
  }
  return "";
}

void Print(const GemmShape& shape, int m, std::vector<Candidate> found, int runners_up) {
  std::sort(found.begin(), found.end(),
            [](const Candidate& a, const Candidate& b) { return a.us < b.us; });
  for (int i = 0; i < std::min<int>(static_cast<int>(found.size()), runners_up + 1); ++i) {
    const cuda::GemmChoice& c = found[i].choice;
    fmt::print("{}{{{}, {}, {}, {{{}, {}, {}, {}}}}},  // {:.2f} us\n", i == 0 ? "    " : "    // ",
               shape.n, shape.k, m, NameOf(c.kernel), c.variant, c.split, c.shared_kib,
               found[i].us);
  }
  std::fflush(stdout);
}

void TuneW4A16(GpuBench& bench, const GemmShape& shape, int runners_up) {
  const std::vector<int>& tokens = bench.options().tokens;
  const Int4Operands operands(shape, *std::max_element(tokens.begin(), tokens.end()));
  const int sms = bench.device().sm_count;
  for (const int m : tokens) {
    std::vector<cuda::GemmChoice> choices = Choices(
        cuda::GemmKernel::kW4A16Small, std::size(cuda::kSmallVariants), sms, operands.Size(m));
    const std::vector<cuda::GemmChoice> large = Choices(
        cuda::GemmKernel::kW4A16Large, std::size(cuda::kLargeVariants), sms, operands.Size(m));
    choices.insert(choices.end(), large.begin(), large.end());
    std::vector<Candidate> found;
    for (const cuda::GemmChoice& choice : choices) {
      if (Oversized(choice, m)) continue;
      cuda::GemmW4A16Params params = operands.Params(m, sms);
      const double us = bench.TimeUs(operands.copies(), [&](int copy, cudaStream_t stream) {
        params.tiles = operands.Tiles(copy);
        params.stream = stream;
        return cuda::GemmW4A16With(params, choice);
      });
      if (us > 0.0) found.push_back({choice, us});
    }
    Print(shape, m, found, runners_up);
  }
}

void TuneFp8(GpuBench& bench, const GemmShape& shape, int runners_up) {
  std::vector<int> tokens;
  for (const int m : bench.options().tokens) {
    if (m <= cuda::kFp8SmallMaxTokens) tokens.push_back(m);
  }
  if (tokens.empty()) return;
  const Fp8Operands operands(shape, *std::max_element(tokens.begin(), tokens.end()));
  const int sms = bench.device().sm_count;
  for (const int m : tokens) {
    std::vector<Candidate> found;
    for (const cuda::GemmChoice& choice : Choices(
             cuda::GemmKernel::kFp8Small, std::size(cuda::kFp8Variants), sms, operands.Size(m))) {
      if (Oversized(choice, m)) continue;
      cuda::GemmFp8Params params = operands.Params(m, cuda::Fp8Mode::kFastAccum);
      const double us = bench.TimeUs(operands.copies(), [&](int copy, cudaStream_t stream) {
        params.w = operands.Weights(copy);
        params.stream = stream;
        return cuda::GemmFp8SmallWith(params, sms, choice);
      });
      if (us > 0.0) found.push_back({choice, us});
    }
    Print(shape, m, found, runners_up);
  }
}

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) {
  using namespace baton::bench;
  CLI::App app("Prints the table of the fastest kernel of each product and M, as C++.");
  std::string shapes = "llama3-8b";
  std::string only;
  std::string product;
  int runners_up = 0;
  BenchOptions options;
  options.tokens = {8, 16, 32, 64, 128, 256, 2048, 8192};
  app.add_option("--shapes", shapes, "llama3-8b, or a JSON file with a model's sizes");
  app.add_option("--only", only, "one table")->check(CLI::IsMember({"w4a16", "fp8"}));
  app.add_option("--product", product, "one product: qkv, o, gate_up, down, head");
  app.add_option("--tokens", options.tokens, "the rows' M")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 17));
  app.add_option("--replays", options.replays, "replays per median")->check(CLI::Range(1, 1000));
  app.add_option("--runners-up", runners_up, "also print the next best, as comments")
      ->check(CLI::Range(0, 1000));
  CLI11_PARSE(app, argc, argv);
  std::string problem;
  options.model = LoadShape(shapes, &problem);
  baton::kernels::cuda::DeviceTraits device;
  if (problem.empty()) {
    const cudaError_t error = baton::kernels::cuda::QueryDevice(0, &device);
    problem = error != cudaSuccess ? fmt::format("no GPU to tune on: {}", cudaGetErrorString(error))
                                   : DeviceProblem(device);
  }
  if (!problem.empty()) {
    fmt::print(stderr, "{}\n", problem);
    return 1;
  }
  GpuBench bench(options, device);
  for (const GemmShape& shape : options.model.products()) {
    if (!product.empty() ? shape.name != product : shape.name == "head") continue;
    if (only != "fp8") TuneW4A16(bench, shape, runners_up);
    if (only != "w4a16") TuneFp8(bench, shape, runners_up);
  }
  return 0;
}
