#include "kernels/attention/decode_cuda.h"

#include <algorithm>
#include <numbers>

#include "kernels/attention/decode_launch.h"

namespace baton::kernels::cuda {
namespace {

using LaunchFunction = cudaError_t (*)(const DecodeArgs&, const DecodeLaunch&);

// A new format: a line here and the file that it names.
struct DecodeFormat {
  KvFormats formats;
  int chunk_tokens;
  LaunchFunction launch;
};
constexpr DecodeFormat kFormats[] = {
    {{KvFormat::kFp16, KvFormat::kFp16}, 16, LaunchDecodeFp16},
    {{KvFormat::kBf16, KvFormat::kBf16}, 16, LaunchDecodeBf16},
    {{KvFormat::kFp8E4m3, KvFormat::kFp8E4m3}, 32, LaunchDecodeE4m3},
    {{KvFormat::kFp8E5m2, KvFormat::kFp8E5m2}, 32, LaunchDecodeE5m2},
    {{KvFormat::kInt8, KvFormat::kInt8}, 32, LaunchDecodeInt8},
    {{KvFormat::kInt4, KvFormat::kInt4}, 32, LaunchDecodeInt4},
    {{KvFormat::kInt8, KvFormat::kInt4}, 32, LaunchDecodeK8v4},
};

const DecodeFormat* FindFormat(KvFormats formats) {
  const auto* found = std::find_if(std::begin(kFormats), std::end(kFormats),
                                   [&](const DecodeFormat& f) { return f.formats == formats; });
  return found == std::end(kFormats) ? nullptr : found;
}

// Shared memory that a block may have, and what of it merging takes.
constexpr size_t kSharedBytes = 227 * 1024;
constexpr size_t kReservedBytes = 1024;  // per resident block
constexpr int kMaxStages = 16;

size_t StageBytes(KvFormats formats, int head_dim, int chunk_tokens) {
  size_t bytes = 0;
  for (const KvFormat format : {formats.k, formats.v}) {
    bytes += chunk_tokens * (KvCodeBytes(format, head_dim) + KvScaleBytes(format));
  }
  return (bytes + 127) / 128 * 128;
}

bool Aligned(const void* pointer) { return reinterpret_cast<uintptr_t>(pointer) % 16 == 0; }

}  // namespace

DecodeConfig ChooseDecode(KvFormats formats, int head_dim, int heads) {
  const DecodeFormat* format = FindFormat(formats);
  DecodeConfig config{.warps = 8, .blocks_per_sm = 1};
  config.chunk_tokens = format == nullptr ? 16 : format->chunk_tokens;
  const size_t merge = static_cast<size_t>(config.warps) * std::min(heads, kDecodeTileHeads) *
                       (head_dim + 8) * sizeof(float);
  const size_t room = kSharedBytes / config.blocks_per_sm - kReservedBytes - merge;
  const size_t stage = StageBytes(formats, head_dim, config.chunk_tokens) + sizeof(uint64_t);
  config.stages = std::clamp(static_cast<int>(room / (config.warps * stage)), 1, kMaxStages);
  return config;
}

DecodePlanShape DecodeShape(const DecodeConfig& config, int sm_count, int q_heads, int kv_heads) {
  return {.kv_heads = kv_heads,
          .tiles = DecodeTiles(q_heads, kv_heads),
          .chunk_tokens = config.chunk_tokens,
          .blocks = sm_count * config.blocks_per_sm,
          .min_chunks = config.warps};
}

size_t DecodeWorkspaceBytes(const DecodeConfig& config, int sm_count, int head_dim) {
  const size_t blocks = static_cast<size_t>(sm_count) * config.blocks_per_sm;
  return 2 * blocks * DecodeSlotFloats(head_dim) * sizeof(float) + blocks * sizeof(int32_t);
}

const char* DecodeAttentionProblem(const DecodeAttentionParams& params) {
  const KvPageLayout& layout = params.kv.layout;
  const KvGeometry& geometry = layout.geometry();
  const DecodeFormat* format = FindFormat(layout.formats());
  if (geometry.head_dim != 64 && geometry.head_dim != 128) {
    return "decode attention: head_dim, expected 64 or 128";
  }
  if (format == nullptr) return "decode attention: formats of K and V, expected equal ones or k8v4";
  if (params.q_heads < 1 || params.q_heads % geometry.kv_heads != 0) {
    return "decode attention: q_heads, expected a multiple of kv_heads";
  }
  if (params.layer < 0 || params.layer >= geometry.layers) {
    return "decode attention: layer, expected one of the cache";
  }
  const DecodeConfig& config = params.config;
  if (config.warps < 1 || config.warps > 16 || config.stages < 1 || config.stages > 32 ||
      config.blocks_per_sm < 1 || config.chunk_tokens != format->chunk_tokens) {
    return "decode attention: config, expected one of ChooseDecode for these formats";
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
