// Prefill attention: one sequence from position 0, and a chunk behind a long prefix. TFLOPS count
// half of the square (causal); the peers' scripts count likewise.
#include <fmt/core.h>

#include <cmath>
#include <string>
#include <vector>

#include "kernels/attention/prefill_cuda.h"
#include "tests/bench/kernels_gpu/benches.h"
#include "tests/bench/kernels_gpu/fill.h"
#include "tests/gpu/support/memory.h"

namespace baton::bench {
namespace {

using namespace kernels;
using namespace kernels::cuda;

struct Setting {
  int kv_heads;
  int head_dim;
  int prefix;  // tokens already cached
  int rows;    // new tokens
  KvFormat format;
  ActivationType type;
  int page_tokens;
};

// Valid pages of random values, so that nothing is NaN.
void FillPages(const KvPageLayout& layout, std::byte* pool, int pages, uint32_t seed) {
  const size_t scales = layout.ScaleOffset(0, KvTensor::kKey, 0, 0);
  for (int i = 0; i < pages; ++i) {
    std::byte* page = pool + i * layout.page_bytes();
    switch (layout.format(KvTensor::kKey)) {
      case KvFormat::kBf16:
        FillActivations(ActivationType::kBf16, page, layout.page_bytes() / 2, 1.0f, seed + i);
        continue;
      case KvFormat::kFp16:
        FillActivations(ActivationType::kFp16, page, layout.page_bytes() / 2, 1.0f, seed + i);
        continue;
      case KvFormat::kFp8E4m3:
        FillE4m3(page, scales, seed + i);
        break;
      default:
        FillBytes(page, scales, seed + i);
    }
    FillActivations(ActivationType::kFp16, page + scales, (layout.page_bytes() - scales) / 2, 0.01f,
                    seed + 7 * i);
  }
}

// One copy of the operands.
struct Operands {
  Operands(const Setting& s, int q_heads, const PrefillShape& shape, const KvPageLayout& layout,
           const DeviceTraits& device, uint32_t seed)
      : pages((s.prefix + s.rows + s.page_tokens - 1) / s.page_tokens),
        q(static_cast<size_t>(s.rows) * q_heads * s.head_dim),
        out(q.size()),
        pool(layout.page_bytes() * pages) {
    std::vector<int32_t> table(pages);
    for (int i = 0; i < pages; ++i) {
      table[i] = static_cast<int32_t>((i * 7919LL + 13) % pages);  // 7919 is prime: all pages
    }
    page_table = DeviceArray<int32_t>(table);
    const PagedSequence sequence{page_table.data(), s.prefix, s.rows, 0};
    plan = PlanPrefill(shape, {&sequence, 1}, {device.sm_count, device.l2_bytes});
    std::vector<std::byte> host(plan.ImageBytes());
    plan.WriteImage(host.data());
    image = DeviceArray<std::byte>(host);
    workspace = DeviceBytes(plan.WorkspaceBytes());
    FillActivations(s.type, q.data(), q.size(), 1.0f, seed);
    FillPages(layout, pool.data(), pages, seed + 1);
  }

  int pages;
  DeviceArray<uint16_t> q;
  DeviceArray<uint16_t> out;
  DeviceArray<std::byte> pool;
  DeviceArray<int32_t> page_table;
  PrefillPlan plan;
  DeviceArray<std::byte> image;
  DeviceBytes workspace;
};

void Time(GpuBench& bench, const Setting& s) {
  const int q_heads = bench.options().model.heads;
  const KvPageLayout layout({1, s.kv_heads, s.head_dim}, {s.format, s.format}, s.page_tokens);
  PrefillShape shape{.q_heads = q_heads,
                     .kv_heads = s.kv_heads,
                     .head_dim = s.head_dim,
                     .page_tokens = s.page_tokens};
  const PagedSequence sequence{nullptr, s.prefix, s.rows, 0};
  shape.gathered =
      PrefillNeedsGather(s.type, {s.format, s.format}) || PrefillGatherPays(shape, {&sequence, 1});
  const int tokens = s.prefix + s.rows;
  const int copies = GpuBench::CopiesFor(2.0 * s.rows * q_heads * s.head_dim * 2 +
                                         static_cast<double>(KvResidentBytes(layout, tokens)));
  std::vector<Operands> operands;
  for (int i = 0; i < copies; ++i) {
    operands.emplace_back(s, q_heads, shape, layout, bench.device(), 1000 * i + 1);
  }
  const double us = bench.TimeUs(copies, [&](int copy, cudaStream_t stream) {
    const Operands& o = operands[copy];
    const int64_t width = q_heads * s.head_dim;
    return AttentionPrefill({.q = o.q.data(),
                             .q_stride = width,
                             .out = o.out.data(),
                             .out_stride = width,
                             .type = s.type,
                             .scale = 1.0f / std::sqrt(static_cast<float>(s.head_dim)),
                             .pool = o.pool.data(),
                             .pool_pages = o.pages,
                             .layout = layout,
                             .layer = 0,
                             .plan = &o.plan,
                             .image = o.image.data(),
                             .workspace = o.workspace.data(),
                             .workspace_bytes = o.workspace.bytes(),
                             .sm_count = bench.device().sm_count,
                             .stream = stream});
  });
  const double pairs = static_cast<double>(s.rows) * (s.prefix + 0.5 * s.rows);
  bench.Report(
      {.op = "attention_prefill",
       .shape = fmt::format("{}/{} heads d{} +{}", q_heads, s.kv_heads, s.head_dim, s.prefix),
       .m = s.rows,
       .variant =
           fmt::format("{} q, {} pages of {}", Name(s.type), KvFormatName(s.format), s.page_tokens),
       .us = us,
       .flops = 4.0 * pairs * q_heads * s.head_dim,
       .flops_peak = PeakKind::kFp16,
       .note = shape.gathered && us > 0.0 ? "expanded first" : ""});
}

}  // namespace

void BenchAttentionPrefill(GpuBench& bench) {
  const ModelShape& model = bench.options().model;
  const KvFormat fp16 = KvFormat::kFp16;
  const ActivationType half = ActivationType::kFp16;
  for (const int rows : {2048, 8192}) {
    for (const int kv_heads : {model.kv_heads, model.heads}) {
      Time(bench, {kv_heads, 128, 0, rows, fp16, half, 128});
      Time(bench, {kv_heads, 64, 0, rows, fp16, half, 128});
    }
    for (const int page_tokens : {16, 64}) {
      Time(bench, {model.kv_heads, 128, 0, rows, fp16, half, page_tokens});
    }
    Time(bench, {model.kv_heads, 128, 0, rows, KvFormat::kBf16, ActivationType::kBf16, 64});
    for (const KvFormat format : {KvFormat::kFp8E4m3, KvFormat::kInt8, KvFormat::kInt4}) {
      Time(bench, {model.kv_heads, 128, 0, rows, format, half, 64});
    }
  }
  for (const int rows : {16, 128, 512, 2048}) {
    Time(bench, {model.kv_heads, 128, 8192, rows, fp16, half, 64});
    Time(bench, {model.kv_heads, 128, 8192, rows, KvFormat::kInt8, half, 64});
  }
}

}  // namespace baton::bench
