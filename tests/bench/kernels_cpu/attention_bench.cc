// Attention on the shapes of model "small": prefill chunks and decode steps, per format of the
// cache. GFLOPS count the two products of visible tokens only; GB/s counts the pages that a decode
// step reads.

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <vector>

#include "kernels/attention/attention.h"
#include "kernels/numeric/aligned_buffer.h"
#include "tests/bench/kernels_cpu/machine.h"
#include "tests/bench/kernels_cpu/table.h"

namespace baton::bench {
namespace {

using kernels::AttentionParams;
using kernels::KvFormats;
using kernels::KvGeometry;
using kernels::KvPageLayout;
using kernels::PagedSequence;

constexpr KvGeometry kSmall{1, 2, 128};
constexpr int kQueryHeads = 4;
constexpr int kPageTokens = 64;

struct Load {
  const char* name;
  int sequences;
  int first_position;
  int rows;
};

struct Measured {
  double seconds;
  double flops;
  double bytes;
};

// Every page holds the same harmless codes: the arithmetic does not depend on values.
Measured Measure(const Load& load, KvFormats formats, int threads) {
  const KvPageLayout layout(kSmall, formats, kPageTokens);
  const int tokens = load.first_position + load.rows;
  const int pages_each = (tokens + kPageTokens - 1) / kPageTokens;
  kernels::AlignedBuffer<std::byte> pool(layout.page_bytes() * pages_each * load.sequences);
  for (size_t i = 0; i < pool.size(); ++i) pool[i] = static_cast<std::byte>(i % 37);
  std::vector<int32_t> pages(static_cast<size_t>(pages_each) * load.sequences);
  std::vector<PagedSequence> sequences;
  for (size_t i = 0; i < pages.size(); ++i) pages[i] = static_cast<int32_t>(i);
  for (int s = 0; s < load.sequences; ++s) {
    sequences.push_back(
        {pages.data() + s * pages_each, load.first_position, load.rows, s * load.rows});
  }
  const int width = kQueryHeads * kSmall.head_dim;
  kernels::AlignedBuffer<float> q(static_cast<size_t>(load.sequences) * load.rows * width);
  kernels::AlignedBuffer<float> out(q.size());
  for (size_t i = 0; i < q.size(); ++i) q[i] = static_cast<float>(i % 13) * 0.01f;
  const AttentionParams params{.q = q.data(),
                               .q_stride = width,
                               .out = out.data(),
                               .out_stride = width,
                               .q_heads = kQueryHeads,
                               .scale = 1.0f / std::sqrt(static_cast<float>(kSmall.head_dim)),
                               .kv = {pool.data(), layout},
                               .sequences = sequences};
  const double seconds = FastestRun(threads, load.rows > 1 ? 15 : 60, [&](int part, int parts) {
    kernels::AttentionCpu(params, part, parts);
  });
  double visible = 0;
  for (int r = 0; r < load.rows; ++r) visible += load.first_position + r + 1;
  visible *= load.sequences;
  return {seconds, visible * kQueryHeads * kSmall.head_dim * 4,
          static_cast<double>(load.sequences) * tokens * layout.page_bytes() / kPageTokens};
}

void Run(int threads) {
  const Peaks peaks = MeasurePeaks(threads);
  fmt::print(
      "{} threads; peaks: {:.0f} GFLOPS fp32, {:.0f} GB/s from cache; 4 query heads, 2 KV heads, "
      "head_dim 128\n",
      threads, peaks.flops / 1e9, peaks.read_cache / 1e9);
  const Table table({"one layer", "KV", "us", "GFLOPS", "of peak", "GB/s"});
  for (const Load& load :
       {Load{"prefill 512", 1, 0, 512}, Load{"prefill 512 after 512", 1, 512, 512},
        Load{"decode 1 at 512", 1, 511, 1}, Load{"decode 8 at 512", 8, 511, 1},
        Load{"decode 1 at 4096", 1, 4095, 1}}) {
    for (const char* name : {"fp16", "bf16", "fp8_e4m3", "fp8_e5m2", "int8", "int4", "k8v4"}) {
      const Measured m = Measure(load, *kernels::ParseKvFormats(name), threads);
      table.Row({load.name, name, Number(m.seconds * 1e6), Number(m.flops / m.seconds / 1e9),
                 Percent(m.flops / m.seconds / peaks.flops), Number(m.bytes / m.seconds / 1e9)});
    }
  }
}

}  // namespace
}  // namespace baton::bench

int main(int argc, char** argv) {
  baton::bench::Run(argc > 1 ? std::max(1, std::atoi(argv[1])) : 2);
  return 0;
}
