#include <algorithm>
#include <bit>
#include <numbers>

#include "kernels/attention/prefill_cuda.h"
#include "kernels/attention/prefill_gather.cuh"
#include "kernels/attention/prefill_launch.h"
#include "kernels/attention/prefill_shared.cuh"
#include "kernels/cuda/tensor_map.h"

namespace baton::kernels::cuda {
namespace {

// Pages of 16-bit keys and values as the kernel reads them.
struct SourcePages {
  const std::byte* pool;
  KvPageLayout layout;
  int layer;
  int64_t pages;
};

int Log2(int power_of_two) { return std::countr_zero(static_cast<unsigned>(power_of_two)); }

KvFormat FormatOf(ActivationType type) {
  return type == ActivationType::kFp16 ? KvFormat::kFp16 : KvFormat::kBf16;
}

KvPageLayout WorkspaceLayout(const AttentionPrefillParams& p) {
  const KvGeometry& geometry = p.layout.geometry();
  return KvPageLayout({1, geometry.kv_heads, geometry.head_dim},
                      {FormatOf(p.type), FormatOf(p.type)}, kPrefillBlockTokens);
}

cudaError_t Gather(const AttentionPrefillParams& p, const KvPageLayout& out) {
  PrefillGatherLaunch launch;
  for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
    PrefillGatherTensor& t = launch.tensors[static_cast<int>(tensor)];
    t.codes = p.pool + p.layout.CodeOffset(p.layer, tensor, 0, 0);
    t.scales = p.pool + p.layout.ScaleOffset(p.layer, tensor, 0, 0);
    t.out = static_cast<std::byte*>(p.workspace) + out.CodeOffset(0, tensor, 0, 0);
    t.format = p.layout.format(tensor);
  }
  launch.gathers = reinterpret_cast<const PrefillGather*>(p.image + p.plan->GathersOffset());
  launch.page_bytes = p.layout.page_bytes();
  launch.out_page_bytes = out.page_bytes();
  launch.page_shift = Log2(p.layout.page_tokens());
  return LaunchPrefillGather(launch, p.type, p.layout.geometry().head_dim,
                             static_cast<int>(p.plan->gathers.size()), p.layout.geometry().kv_heads,
                             p.stream);
}

cudaError_t EncodeMaps(const AttentionPrefillParams& p, const SourcePages& source,
                       PrefillLaunch* launch) {
  const PrefillShape& shape = p.plan->shape;
  const uint64_t dim = shape.head_dim;
  const int heads = p.plan->heads_per_tile;
  TensorMap3 map{
      .base = p.q,
      .extent = {dim, static_cast<uint64_t>(shape.q_heads), static_cast<uint64_t>(p.plan->rows)},
      .stride_bytes = {dim * 2, static_cast<uint64_t>(p.q_stride) * 2},
      .box = {64, static_cast<uint32_t>(heads),
              static_cast<uint32_t>(PrefillTileRows(shape.head_dim) / heads)}};
  if (const cudaError_t error = EncodeTensorMap(map, &launch->q_map); error != cudaSuccess) {
    return error;
  }
  const int page_tokens = source.layout.page_tokens();
  map = {.base = launch->keys,
         .extent = {dim, static_cast<uint64_t>(shape.kv_heads) * page_tokens,
                    static_cast<uint64_t>(source.pages)},
         .stride_bytes = {dim * 2, source.layout.page_bytes()},
         .box = {64, static_cast<uint32_t>(page_tokens), 1}};
  if (const cudaError_t error = EncodeTensorMap(map, &launch->k_map); error != cudaSuccess) {
    return error;
  }
  map.base = launch->values;
  return EncodeTensorMap(map, &launch->v_map);
}

cudaError_t Attend(const AttentionPrefillParams& p, const SourcePages& source) {
  PrefillLaunch launch;
  launch.keys = source.pool + source.layout.CodeOffset(source.layer, KvTensor::kKey, 0, 0);
  launch.values = source.pool + source.layout.CodeOffset(source.layer, KvTensor::kValue, 0, 0);
  launch.page_bytes = source.layout.page_bytes();
  launch.page_shift = Log2(source.layout.page_tokens());
  if (const cudaError_t error = EncodeMaps(p, source, &launch); error != cudaSuccess) return error;
  launch.counters = reinterpret_cast<uint32_t*>(p.image);
  launch.tiles = reinterpret_cast<const PrefillTile*>(p.image + p.plan->TilesOffset());
  launch.tile_count = static_cast<int>(p.plan->tiles.size());
  launch.merges = reinterpret_cast<const PrefillMerge*>(p.image + p.plan->MergesOffset());
  launch.merge_count = static_cast<int>(p.plan->merges.size());
  std::byte* workspace = static_cast<std::byte*>(p.workspace);
  launch.sums = reinterpret_cast<float*>(workspace + p.plan->SumsOffset());
  launch.stats = reinterpret_cast<float2*>(workspace + p.plan->StatsOffset());
  launch.heads_shift = Log2(p.plan->heads_per_tile);
  launch.window = p.plan->shape.window;
  launch.scale_log2 = p.scale * std::numbers::log2e_v<float>;
  launch.q = p.q;
  launch.q_stride = p.q_stride;
  launch.out = p.out;
  launch.out_stride = p.out_stride;
  const int blocks = std::min(p.sm_count, launch.tile_count);
  const bool small = p.plan->shape.head_dim == 64;
  if (p.type == ActivationType::kFp16) {
    return small ? LaunchPrefillFp16Dim64(launch, blocks, p.stream)
                 : LaunchPrefillFp16Dim128(launch, blocks, p.stream);
  }
  return small ? LaunchPrefillBf16Dim64(launch, blocks, p.stream)
               : LaunchPrefillBf16Dim128(launch, blocks, p.stream);
}

}  // namespace

cudaError_t AttentionPrefill(const AttentionPrefillParams& params) {
  if (AttentionPrefillProblem(params)) return cudaErrorInvalidValue;
  if (params.plan->tiles.empty()) return cudaSuccess;
  if (!params.plan->shape.gathered) {
    return Attend(params, {params.pool, params.layout, params.layer, params.pool_pages});
  }
  const KvPageLayout layout = WorkspaceLayout(params);
  if (const cudaError_t error = Gather(params, layout); error != cudaSuccess) return error;
  return Attend(params, {static_cast<const std::byte*>(params.workspace), layout, 0,
                         static_cast<int64_t>(params.plan->gathers.size())});
}

}  // namespace baton::kernels::cuda
