// kernels_gpu: measures the CUDA kernels on the shapes of a model.
#include <fmt/core.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <fstream>

#include "tests/bench/kernels_gpu/benches.h"

int main(int argc, char** argv) {
  using namespace baton::bench;
  CLI::App app("Times the CUDA kernels: CUDA graphs, weights cold in L2, medians of replays.");
  std::string shapes = "llama3-8b";
  std::string json_file;
  std::vector<std::string> only;
  BenchOptions options;
  options.tokens = {1, 2, 4, 8, 16, 32, 64, 128, 256, 2048, 8192};
  std::vector<std::string> names;
  for (const NamedBench& bench : kBenches) names.push_back(bench.name);
  app.add_option("--shapes", shapes, "llama3-8b, or a JSON file with a model's sizes");
  app.add_option("--json", json_file, "also write the measurements to this file");
  app.add_option("--only", only, "benchmarks to run: " + CLI::detail::join(names))
      ->delimiter(',')
      ->check(CLI::IsMember(names));
  app.add_option("--tokens", options.tokens, "rows M of the products")
      ->delimiter(',')
      ->check(CLI::Range(1, 1 << 17));
  app.add_option("--replays", options.replays, "replays per median")->check(CLI::Range(1, 1000));
  CLI11_PARSE(app, argc, argv);

  std::string problem;
  options.model = LoadShape(shapes, &problem);
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
  GpuBench bench(options, device);
  for (const NamedBench& named : kBenches) {
    if (only.empty() || std::count(only.begin(), only.end(), named.name) > 0) named.run(bench);
  }
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
