// What the quantizers cost for one linear layer: Xᵀ X of calibration inputs, the scale search of
// AWQ, and GPTQ, in wall-clock and CPU seconds (which other work on the machine hardly changes).
// The inputs are random with correlated channels.
#include <CLI/CLI.hpp>
#include <chrono>
#include <cstdlib>
#include <ctime>
#include <functional>
#include <random>

#include "common/base/status.h"
#include "common/calibrate/recipe.h"
#include "common/quant/algorithms/folding.h"
#include "common/quant/algorithms/gptq.h"
#include "common/quant/algorithms/linear_algebra.h"
#include "common/runner/cpu/thread_pool.h"

namespace baton {
namespace {

struct Options {
  int64_t n = 4096;
  int64_t k = 14336;
  int64_t tokens = 4096;  // for Xᵀ X
  int64_t sample = 512;   // tokens of AWQ's search
  int threads = 2;
};

Matrix Random(int64_t rows, int64_t cols, uint32_t seed) {
  std::mt19937 random(seed);
  std::normal_distribution<float> normal;
  Matrix m(rows, cols);
  for (float& x : m.values) x = normal(random);
  return m;
}

void Timed(const char* name, double operations, const std::function<void()>& fn) {
  const auto start = std::chrono::steady_clock::now();
  const std::clock_t cpu_start = std::clock();  // of all threads
  fn();
  const double seconds =
      std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
  const double cpu = static_cast<double>(std::clock() - cpu_start) / CLOCKS_PER_SEC;
  fmt::print("{:<34} {:>9.2f} s {:>9.2f} CPU s", name, seconds, cpu);
  if (operations > 0) fmt::print(" {:>8.1f} GFLOP per CPU s", operations / cpu / 1e9);
  fmt::print("\n");
}

absl::Status Run(const Options& o) {
  ThreadPool pool(o.threads);
  const Parallel parallel = [&pool](const std::function<void(int, int)>& fn) { pool.Run(fn); };
  fmt::print("one layer of {} x {}, {} threads\n", o.n, o.k, o.threads);
  const auto n = static_cast<double>(o.n);
  const auto k = static_cast<double>(o.k);
  const Matrix w = Random(o.n, o.k, 1);
  Matrix x = Random(o.tokens, o.k, 2);
  std::mt19937 random(3);
  std::uniform_real_distribution<float> range(0.2f, 4.0f);
  for (int64_t j = 0; j < o.k; ++j) {
    const float scale = range(random);
    for (int64_t i = 0; i < o.tokens; ++i) {
      // A quarter of each channel is shared with its neighbour.
      x.At(i, j) = scale * (x.At(i, j) + 0.25f * x.At(i, std::max<int64_t>(0, j - 1)));
    }
  }
  Matrix gram(o.k, o.k);
  Timed(fmt::format("X^T X of {} tokens", o.tokens).c_str(), static_cast<double>(o.tokens) * k * k,
        [&] {
          AddGram({x.values.data(), o.k}, o.tokens, gram, parallel);
        });
  BATON_ASSIGN_OR_RETURN(const Recipe recipe, MakeRecipe({.scheme = "w4a16"}));
  Matrix sample(std::min(o.sample, o.tokens), o.k);
  std::copy_n(x.values.begin(), sample.values.size(), sample.values.begin());
  InputStatistics statistics{std::vector<float>(static_cast<size_t>(o.k)),
                             std::vector<float>(static_cast<size_t>(o.k))};
  for (int64_t j = 0; j < o.k; ++j) {
    statistics.mean[static_cast<size_t>(j)] =
        std::sqrt(gram.At(j, j) / static_cast<float>(o.tokens));
    statistics.amax[static_cast<size_t>(j)] = 4 * statistics.mean[static_cast<size_t>(j)];
  }
  const std::vector<const Matrix*> weights = {&w};
  Timed("AWQ: search over 20 exponents", 0, [&] {
    SearchFactors({.rules = {FoldRule::kAwq}, .spec = recipe.weights, .range = recipe.range},
                  sample, statistics, weights, parallel);
  });
  absl::Status status;
  GptqOptions plain = recipe.gptq;
  plain.refits = 0;
  plain.sweeps = 0;
  plain.range.search = RangeSearch::kMinMax;
  Timed("GPTQ alone", k * k * (2.0 / 3 * k + n),
        [&] { status = Gptq(w, gram, recipe.weights, plain, parallel).status(); });
  BATON_RETURN_IF_ERROR(status);
  Timed("GPTQ as in the recipe w4a16", 0,
        [&] { status = Gptq(w, gram, recipe.weights, recipe.gptq, parallel).status(); });
  return status;
}

}  // namespace
}  // namespace baton

int main(int argc, char** argv) {
  CLI::App app("Cost of the quantizers for one linear layer");
  baton::Options options;
  app.add_option("--rows", options.n, "Output features")->capture_default_str();
  app.add_option("--columns", options.k, "Input features")->capture_default_str();
  app.add_option("--tokens", options.tokens, "Calibration tokens of X^T X")->capture_default_str();
  app.add_option("--sample", options.sample, "Tokens of AWQ's search")->capture_default_str();
  app.add_option("--threads", options.threads, "Threads")->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  const absl::Status status = baton::Run(options);
  if (status.ok()) return EXIT_SUCCESS;
  fmt::print(stderr, "quantize_bench: {}\n", baton::ToString(status));
  return EXIT_FAILURE;
}
