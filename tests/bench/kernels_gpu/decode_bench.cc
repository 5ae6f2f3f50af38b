// Decode attention: bytes of K, V and scales over time, against the copy bandwidth.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "kernels/attention/decode_cuda.h"
#include "tests/bench/kernels_gpu/bench_cache.h"
#include "tests/bench/kernels_gpu/benches.h"
#include "tests/bench/kernels_gpu/fill.h"

namespace baton::bench {
namespace {

namespace cuda = kernels::cuda;
using kernels::KvFormat;
using kernels::KvFormats;

constexpr KvFormats kFormats[] = {
    {KvFormat::kFp16, KvFormat::kFp16},       {KvFormat::kBf16, KvFormat::kBf16},
    {KvFormat::kFp8E4m3, KvFormat::kFp8E4m3}, {KvFormat::kFp8E5m2, KvFormat::kFp8E5m2},
    {KvFormat::kInt8, KvFormat::kInt8},       {KvFormat::kInt4, KvFormat::kInt4},
    {KvFormat::kInt8, KvFormat::kInt4}};

struct Batch {
  std::string name;
  std::vector<int32_t> lengths;
};

// As many tokens as 64 x 4096, lengths log-uniform from 128 to 16384.
std::vector<int32_t> RaggedLengths() {
  constexpr int kTokens = 64 * 4096;
  std::mt19937 random(5);
  std::vector<int32_t> lengths;
  int left = kTokens;
  while (left > 0) {
    const double exponent = static_cast<double>(random() % 1000) / 1000.0;
    lengths.push_back(std::min(left, static_cast<int>(128.0 * std::pow(128.0, exponent))));
    left -= lengths.back();
  }
  return lengths;
}

std::vector<Batch> Batches() {
  return {{"64x4096", std::vector<int32_t>(64, 4096)},
          {"16x4096", std::vector<int32_t>(16, 4096)},
          {"1x32768", {32768}},
          {"ragged 128-16k", RaggedLengths()},
          {"256x1024", std::vector<int32_t>(256, 1024)},
          {"64x1024", std::vector<int32_t>(64, 1024)},
          {"1x1024", {1024}}};
}

void Decode(GpuBench& bench, const Batch& batch, KvFormats formats, int page_tokens) {
  const ModelShape& model = bench.options().model;
  const kernels::KvPageLayout layout({1, model.kv_heads, model.head_dim}, formats, page_tokens);
  const int sequences = static_cast<int>(batch.lengths.size());
  const int width = model.heads * model.head_dim;
  const auto tokens = std::accumulate(batch.lengths.begin(), batch.lengths.end(), int64_t{0});
  double group_bytes = 0;
  for (const KvFormat format : {formats.k, formats.v}) {
    group_bytes += kernels::KvCodeBytes(format, model.head_dim) + kernels::KvScaleBytes(format);
  }
  const double bytes = static_cast<double>(tokens) * model.kv_heads * group_bytes;
  const BenchCache cache(layout, batch.lengths, GpuBench::CopiesFor(bytes));
  const cuda::DeviceArray<uint16_t> q(static_cast<size_t>(sequences) * width);
  const cuda::DeviceArray<uint16_t> out(q.size());
  FillActivations(cuda::ActivationType::kFp16, q.data(), q.size(), 1.0f, 22);
  const int sms = bench.device().sm_count;
  const kernels::DecodeProblem problem{
      formats, model.head_dim, model.heads, model.kv_heads, sequences, sms, tokens};
  cuda::DecodeAttentionParams params{.q = q.data(),
                                     .q_stride = width,
                                     .out = out.data(),
                                     .out_stride = width,
                                     .q_heads = model.heads,
                                     .scale = 1.0f / std::sqrt(static_cast<float>(model.head_dim)),
                                     .kv = cache.kv(),
                                     .page_table_stride = cache.table_stride(),
                                     .config = kernels::ChooseDecode(problem),
                                     .sm_count = sms,
                                     .overlaps_predecessor = true};
  kernels::DecodePlanShape shape = kernels::DecodeShape(params.config, problem);
  shape.lengths = batch.lengths;
  const cuda::DeviceArray<int32_t> plan(kernels::PlanDecode(shape).Words());
  params.workspace_bytes = cuda::DecodeWorkspaceBytes(params.config, sms, model.head_dim);
  const cuda::DeviceArray<std::byte> workspace(
      std::vector<std::byte>(params.workspace_bytes, std::byte{0}));
  params.plan = plan.data();
  params.workspace = workspace.data();
  Measurement m{.op = "attention_decode",
                .shape = batch.name,
                .m = sequences,
                .variant = kernels::KvFormatsName(formats) + " page " + std::to_string(page_tokens),
                .bytes = bytes};
  params.page_table = cache.table(0);
  if (const char* refusal = cuda::DecodeAttentionProblem(params); refusal != nullptr) {
    m.note = refusal;
  } else {
    m.us = bench.TimeUs(cache.copies(), [&](int copy, cudaStream_t stream) {
      params.page_table = cache.table(copy);
      params.stream = stream;
      return cuda::DecodeAttention(params);
    });
  }
  bench.Report(m);
}

}  // namespace

void BenchAttentionDecode(GpuBench& bench) {
  for (const Batch& batch : Batches()) {
    for (const KvFormats formats : kFormats) Decode(bench, batch, formats, 64);
  }
  for (const KvFormats formats : kFormats) Decode(bench, Batches()[0], formats, 16);
}

}  // namespace baton::bench
