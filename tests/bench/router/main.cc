// What the router costs: baton-router with fake workers beside grpc_forwarder with a fake upstream,
// both in processes of their own, client and fakes in this one, over loopback. The two are measured
// in turns.
//
//   router_bench [ROUNDS]      default 9
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <vector>

#include "tests/bench/router/child.h"
#include "tests/bench/router/fake_workers.h"
#include "tests/bench/router/load.h"

namespace baton {
namespace {

constexpr int kSequential = 300;  // per round
constexpr int kParallel = 1500;
constexpr int kConcurrency = 32;
constexpr int kStreams = 1000;

double Median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

struct Figures {
  std::vector<double> latency_us, rate;
  int failed = 0;

  void Measure(rpc::ChannelPool& channels, const Child& child, uint32_t tokens) {
    const LoadResult one = RunLoad(channels, child.endpoint(), kSequential, 1, tokens);
    const LoadResult many = RunLoad(channels, child.endpoint(), kParallel, kConcurrency, tokens);
    latency_us.push_back(one.median_us());
    rate.push_back(many.per_second());
    failed += one.failed + many.failed;
  }
};

void Compare(rpc::ChannelPool& channels, FakeWorkers& workers, const Child& router,
             const Child& forwarder, uint32_t tokens, int rounds) {
  Figures ours, bare;
  for (int i = 0; i < rounds; ++i) {
    workers.Report();
    ours.Measure(channels, router, tokens);
    bare.Measure(channels, forwarder, tokens);
  }
  fmt::print("{:>6} {:>12.0f} {:>12.0f} {:>8.2f} {:>12.0f} {:>12.0f} {:>8.2f} {:>8}\n", tokens,
             Median(ours.latency_us), Median(bare.latency_us),
             Median(ours.latency_us) / Median(bare.latency_us), Median(ours.rate),
             Median(bare.rate), Median(ours.rate) / Median(bare.rate), ours.failed + bare.failed);
}

int Run(const std::filesystem::path& self, int rounds) {
  const std::filesystem::path folder = self.parent_path();
  const std::string ports =
      (std::filesystem::temp_directory_path() / fmt::format("router_bench.{}", getpid())).string();
  FakeWorkers workers;
  const Child router((folder / "../bin/baton-router").string(),
                     {"--listen=127.0.0.1:0", "--served-model-name=bench",
                      fmt::format("--model={}", BATON_TINY_MODEL), "--max-queue=10000",
                      "--suspect-after=600", "--lost-after=1200", "--port-file=" + ports},
                     ports);
  const Child forwarder((folder / "grpc_forwarder").string(), {workers.endpoint(), ports}, ports);
  std::filesystem::remove(ports);
  workers.Register(router.endpoint());
  rpc::ChannelPool channels;
  for (const Child* child : {&router, &forwarder}) {
    RunLoad(channels, child->endpoint(), 500, 8, 16);
  }
  fmt::print("{} rounds; latency: {} requests one by one; rate: {} at a time; medians\n", rounds,
             kSequential, kConcurrency);
  fmt::print("{:>6} {:>12} {:>12} {:>8} {:>12} {:>12} {:>8} {:>8}\n", "tokens", "router us",
             "bare us", "ratio", "router req/s", "bare req/s", "ratio", "failed");
  for (const uint32_t tokens : {1u, 16u}) {
    Compare(channels, workers, router, forwarder, tokens, rounds);
  }
  const double before = router.resident_mb();
  workers.Hold(true);
  workers.Report();
  {
    const HeldStreams held(channels, router.endpoint(), kStreams);
    fmt::print("router memory: {:.0f} MB, with {} of {} streams open {:.0f} MB\n", before,
               held.started(), kStreams, router.resident_mb());
  }
  return 0;
}

}  // namespace
}  // namespace baton

int main(int argc, char** argv) {
  const int rounds = argc > 1 ? std::atoi(argv[1]) : 9;
  if (rounds < 1) {
    fmt::print(stderr, "usage: router_bench [ROUNDS]\n");
    return 2;
  }
  return baton::Run(std::filesystem::canonical("/proc/self/exe"), rounds);
}
