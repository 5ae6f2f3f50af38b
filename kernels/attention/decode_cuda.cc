#include "kernels/attention/decode_cuda.h"

#include <algorithm>
#include <numbers>

#include "kernels/attention/decode_launch.h"

namespace baton::kernels::cuda {
namespace {

using LaunchFunction = cudaError_t (*)(const DecodeArgs&, const DecodeLaunch&);

// A new format: a line here, one in decode_config.cc and the file that defines the function.
struct DecodeFormat {
  KvFormats formats;
  LaunchFunction launch;
};
constexpr DecodeFormat kFormats[] = {
    {{KvFormat::kFp16, KvFormat::kFp16}, LaunchDecodeFp16},
    {{KvFormat::kBf16, KvFormat::kBf16}, LaunchDecodeBf16},
    {{KvFormat::kFp8E4m3, KvFormat::kFp8E4m3}, LaunchDecodeE4m3},
    {{KvFormat::kFp8E5m2, KvFormat::kFp8E5m2}, LaunchDecodeE5m2},
    {{KvFormat::kInt8, KvFormat::kInt8}, LaunchDecodeInt8},
    {{KvFormat::kInt4, KvFormat::kInt4}, LaunchDecodeInt4},
    {{KvFormat::kInt8, KvFormat::kInt4}, LaunchDecodeK8v4},
};

const DecodeFormat* FindFormat(KvFormats formats) {
  const auto* found = std::find_if(std::begin(kFormats), std::end(kFormats),
                                   [&](const DecodeFormat& f) { return f.formats == formats; });
  return found == std::end(kFormats) ? nullptr : found;
}

constexpr int kMaxWarps = 16;
constexpr int kMaxStages = 32;  // a lane initializes a barrier
constexpr size_t kMaxSharedBytes = 227 * 1024;

bool Aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

}  // namespace

size_t DecodeWorkspaceBytes(const DecodeConfig& config, int sm_count, int head_dim) {
  const size_t blocks = static_cast<size_t>(sm_count) * config.blocks_per_sm;
  return 2 * blocks * DecodeSlotFloats(head_dim) * sizeof(float) + blocks * sizeof(int32_t);
}

const char* DecodeAttentionProblem(const DecodeAttentionParams& params) {
  const KvPageLayout& layout = params.kv.layout;
  const KvGeometry& geometry = layout.geometry();
  if (geometry.head_dim != 64 && geometry.head_dim != 128) {
    return "decode attention: head_dim, expected 64 or 128";
  }
  if (FindFormat(layout.formats()) == nullptr) {
    return "decode attention: formats of K and V, expected equal ones or k8v4";
  }
  if (params.q_heads < 1 || params.q_heads % geometry.kv_heads != 0) {
    return "decode attention: q_heads, expected a multiple of kv_heads";
  }
  if (params.layer < 0 || params.layer >= geometry.layers) {
    return "decode attention: layer, expected one of the cache";
  }
  const DecodeConfig& config = params.config;
  const DecodeProblem shape{.formats = layout.formats(),
                            .head_dim = geometry.head_dim,
                            .q_heads = params.q_heads,
                            .kv_heads = geometry.kv_heads};
  if (config.warps < 1 || config.warps > kMaxWarps || config.stages < 1 ||
      config.stages > kMaxStages || config.blocks_per_sm < 1 ||
      config.chunk_tokens != DecodeChunkTokens(layout.formats()) ||
      DecodeSharedBytes(config, shape) > kMaxSharedBytes) {
    return "decode attention: config, expected one of ChooseDecode for these formats and heads";
  }
  if (params.sm_count < 1) return "decode attention: sm_count, expected that of the device";
  if (params.q_stride % 8 != 0 || params.out_stride % 8 != 0 || !Aligned(params.q) ||
      !Aligned(params.out) || !Aligned(params.kv.pool) || !Aligned(params.plan) ||
      !Aligned(params.workspace)) {
    return "decode attention: pointers and strides, expected multiples of 16 bytes";
  }
  if (params.workspace_bytes < DecodeWorkspaceBytes(config, params.sm_count, geometry.head_dim)) {
    return "decode attention: workspace_bytes, expected DecodeWorkspaceBytes";
  }
  return nullptr;
}

cudaError_t DecodeAttention(const DecodeAttentionParams& params) {
  if (DecodeAttentionProblem(params) != nullptr) return cudaErrorInvalidValue;
  const KvGeometry& geometry = params.kv.layout.geometry();
  const int grid = params.sm_count * params.config.blocks_per_sm;
  const size_t partial_bytes =
      2 * static_cast<size_t>(grid) * DecodeSlotFloats(geometry.head_dim) * sizeof(float);
  const size_t begin_words = (static_cast<size_t>(grid) + 1 + 3) / 4 * 4;
  auto* const workspace = static_cast<std::byte*>(params.workspace);
  const DecodeArgs args{.q = params.q,
                        .q_stride = params.q_stride,
                        .out = params.out,
                        .out_stride = params.out_stride,
                        .bf16 = params.type == ActivationType::kBf16,
                        .heads = params.q_heads / geometry.kv_heads,
                        .tiles = DecodeTiles(params.q_heads, geometry.kv_heads),
                        .scale_log2 = params.scale * std::numbers::log2e_v<float>,
                        .kv = ViewOf(params.kv, params.layer),
                        .page_table = params.page_table,
                        .page_table_stride = params.page_table_stride,
                        .begin = params.plan,
                        .works = reinterpret_cast<const DecodeWork*>(params.plan + begin_words),
                        .partials = reinterpret_cast<float*>(workspace),
                        .counters = reinterpret_cast<int32_t*>(workspace + partial_bytes),
                        .stages = params.config.stages,
                        .early = params.overlaps_predecessor};
  return FindFormat(params.kv.layout.formats())
      ->launch(args, {.grid = grid,
                      .warps = params.config.warps,
                      .chunk_tokens = params.config.chunk_tokens,
                      .stream = params.stream});
}

}  // namespace baton::kernels::cuda
