// What moves KV: RoPE with cache writes, pack and scatter.
#include <algorithm>
#include <numeric>

#include "kernels/kv_pack/cuda.h"
#include "kernels/rope/cuda.h"
#include "tests/bench/kernels_gpu/bench_cache.h"
#include "tests/bench/kernels_gpu/benches.h"
#include "tests/bench/kernels_gpu/fill.h"

namespace baton::bench {
namespace {

namespace cuda = kernels::cuda;
using kernels::KvFormat;
using kernels::KvFormats;

constexpr int kPageTokens = 64;
constexpr int kMaxCopies = 16;

double GroupBytes(KvFormats formats, int head_dim) {
  double bytes = 0;
  for (const KvFormat format : {formats.k, formats.v}) {
    bytes += kernels::KvCodeBytes(format, head_dim) + kernels::KvScaleBytes(format);
  }
  return bytes;
}

void Rope(GpuBench& bench, int rows, KvFormats formats) {
  const ModelShape& model = bench.options().model;
  const int q_width = model.heads * model.head_dim;
  const int kv_width = model.kv_heads * model.head_dim;
  const int width = q_width + 2 * kv_width;
  const int pairs = model.head_dim / 2;
  // Q read and written, K and V read, tables read, pages written.
  const double bytes =
      static_cast<double>(rows) * (4.0 * q_width + 4.0 * kv_width + 8.0 * pairs +
                                   model.kv_heads * GroupBytes(formats, model.head_dim));
  const int copies = std::min(GpuBench::CopiesFor(bytes), kMaxCopies);
  const BenchCache cache({{1, model.kv_heads, model.head_dim}, formats, kPageTokens}, {rows},
                         copies);
  const size_t count = static_cast<size_t>(rows) * width;
  const cuda::DeviceArray<uint16_t> qkv(count * copies);
  FillActivations(cuda::ActivationType::kFp16, qkv.data(), qkv.size(), 1.0f, 23);
  const cuda::DeviceArray<float> cos(static_cast<size_t>(rows) * pairs);
  const cuda::DeviceArray<float> sin(cos.size());
  FillFloats(cos.data(), cos.size(), -0.7f, 0.7f, 24);
  FillFloats(sin.data(), sin.size(), -0.7f, 0.7f, 25);
  std::vector<int32_t> positions(rows);
  std::iota(positions.begin(), positions.end(), 0);
  const cuda::DeviceArray<int32_t> device_positions(positions);
  const cuda::DeviceArray<int32_t> sequences(std::vector<int32_t>(rows, 0));
  const double us = bench.TimeUs(copies, [&](int copy, cudaStream_t stream) {
    uint16_t* const q = qkv.data() + copy * count;
    return cuda::RopeKvWrite({.q = q,
                              .k = q + q_width,
                              .v = q + q_width + kv_width,
                              .q_stride = width,
                              .k_stride = width,
                              .v_stride = width,
                              .rows = rows,
                              .q_heads = model.heads,
                              .pairs = pairs,
                              .cos = cos.data(),
                              .sin = sin.data(),
                              .kv = cache.kv(),
                              .positions = device_positions.data(),
                              .sequences = sequences.data(),
                              .page_table = cache.table(copy),
                              .page_table_stride = cache.table_stride(),
                              .stream = stream});
  });
  bench.Report(
      {.op = "rope_kv_write",
       .shape = "heads " + std::to_string(model.heads) + "/" + std::to_string(model.kv_heads),
       .m = rows,
       .variant = kernels::KvFormatsName(formats),
       .us = us,
       .bytes = bytes});
}

void SlabCopy(GpuBench& bench, bool pack, int layers, int tokens, KvFormats resident,
              KvFormats wire) {
  const ModelShape& model = bench.options().model;
  const kernels::SlabRange range{.l1 = static_cast<uint32_t>(layers),
                                 .h1 = static_cast<uint32_t>(model.kv_heads),
                                 .t1 = static_cast<uint32_t>(tokens)};
  const auto layout = kernels::SlabLayout::Make(range, wire, model.head_dim);
  const double groups = static_cast<double>(layers) * tokens * model.kv_heads;
  const double bytes =
      groups * (GroupBytes(resident, model.head_dim) + GroupBytes(wire, model.head_dim));
  const int copies = std::min(GpuBench::CopiesFor(bytes), kMaxCopies);
  const BenchCache cache({{layers, model.kv_heads, model.head_dim}, resident, kPageTokens},
                         {tokens}, copies);
  const size_t payload_bytes = layout->payload_bytes();
  const cuda::DeviceArray<std::byte> payload(payload_bytes * copies);
  const cuda::DeviceArray<uint64_t> checksum(std::vector<uint64_t>{0});
  const auto params = [&](int copy, cudaStream_t stream) {
    return cuda::SlabCopyParams{.kv = cache.kv(),
                                .pages = cache.table(copy),
                                .range = range,
                                .layout = *layout,
                                .payload = payload.data() + copy * payload_bytes,
                                .checksum = checksum.data(),
                                .stream = stream};
  };
  for (int copy = 0; copy < copies; ++copy) {  // scatter reads what pack wrote
    cuda::OrAbort(cuda::Pack(params(copy, nullptr)), "filling payloads");
  }
  cuda::OrAbort(cudaDeviceSynchronize(), "filling payloads");
  const double us = bench.TimeUs(copies, [&](int copy, cudaStream_t stream) {
    return pack ? cuda::Pack(params(copy, stream)) : cuda::Scatter(params(copy, stream));
  });
  const std::string from = kernels::KvFormatsName(pack ? resident : wire);
  const std::string to = kernels::KvFormatsName(pack ? wire : resident);
  bench.Report({.op = pack ? "kv_pack" : "kv_scatter",
                .shape = std::to_string(layers) + " layers",
                .m = tokens,
                .variant = from + " to " + to,
                .us = us,
                .bytes = bytes});
}

constexpr KvFormats kFp16{KvFormat::kFp16, KvFormat::kFp16};
constexpr KvFormats kFp8{KvFormat::kFp8E4m3, KvFormat::kFp8E4m3};
constexpr KvFormats kInt8{KvFormat::kInt8, KvFormat::kInt8};
constexpr KvFormats kInt4{KvFormat::kInt4, KvFormat::kInt4};

}  // namespace

void BenchRope(GpuBench& bench) {
  for (const int rows : {1, 64, 2048, 8192}) {
    for (const KvFormats formats : {kFp16, kFp8, kInt8, kInt4}) Rope(bench, rows, formats);
  }
}

void BenchKvPack(GpuBench& bench) {
  struct Case {
    int layers;
    int tokens;
    KvFormats resident, wire;
  };
  // At least 32 MiB moved, and one slab of usual size.
  const Case cases[] = {{4, 4096, kFp16, kFp16},  {8, 4096, kFp8, kFp8},  {8, 4096, kInt8, kInt8},
                        {16, 4096, kInt4, kInt4}, {4, 4096, kFp16, kFp8}, {4, 4096, kFp16, kInt8},
                        {4, 4096, kFp16, kInt4},  {8, 4096, kFp8, kInt4}, {1, 512, kFp8, kFp8}};
  for (const bool pack : {true, false}) {
    for (const Case& c : cases) SlabCopy(bench, pack, c.layers, c.tokens, c.resident, c.wire);
  }
}

}  // namespace baton::bench
