#include "kernels/attention/decode_config.h"

#include <algorithm>
#include <iterator>

namespace baton::kernels {
namespace {

// A new format: a line here, one in decode_cuda.cc and the file it names.
struct FormatLine {
  KvFormats formats;
  int chunk_tokens;
  int work_tokens;  // beginning and ending a work costs as much as reading so many
};
constexpr FormatLine kLines[] = {
    {{KvFormat::kFp16, KvFormat::kFp16}, 16, 128},
    {{KvFormat::kBf16, KvFormat::kBf16}, 16, 128},
    {{KvFormat::kFp8E4m3, KvFormat::kFp8E4m3}, 32, 192},
    {{KvFormat::kFp8E5m2, KvFormat::kFp8E5m2}, 32, 192},
    {{KvFormat::kInt8, KvFormat::kInt8}, 32, 192},
    {{KvFormat::kInt4, KvFormat::kInt4}, 32, 384},
    {{KvFormat::kInt8, KvFormat::kInt4}, 32, 256},
};

const FormatLine* FindLine(KvFormats formats) {
  const auto* found = std::find_if(std::begin(kLines), std::end(kLines),
                                   [&](const FormatLine& f) { return f.formats == formats; });
  return found == std::end(kLines) ? nullptr : found;
}

constexpr size_t kSharedBytesPerSm = 228 * 1024;
constexpr size_t kReservedBytes = 1024;  // of each resident block, by the system
constexpr int64_t kLongTokens = 8192;
constexpr int kWarpsPerSm = 16;  // of 128 registers a thread
constexpr int kMaxStages = 4;    // 16 warps hide latency; deeper rings gained nothing

}  // namespace

int DecodeChunkTokens(KvFormats formats) {
  const FormatLine* line = FindLine(formats);
  return line == nullptr ? 0 : line->chunk_tokens;
}

size_t DecodeSharedBytes(const DecodeConfig& config, const DecodeProblem& problem) {
  size_t stage = 0;
  for (const KvFormat format : {problem.formats.k, problem.formats.v}) {
    stage += config.chunk_tokens * (KvCodeBytes(format, problem.head_dim) + KvScaleBytes(format));
  }
  stage = (stage + 127) / 128 * 128 + sizeof(uint64_t);  // a barrier each
  const size_t heads = std::min(problem.q_heads / problem.kv_heads, kDecodeTileHeads);
  const size_t merge = heads * (problem.head_dim + 4 + 4) * sizeof(float);  // of a warp's results
  return config.warps * (config.stages * stage + merge);
}

DecodeConfig ChooseDecode(const DecodeProblem& problem) {
  // 16 warps an SM: in four blocks where each has an item or more (each ends its works in the
  // shadow of the others), in one where items are split in many parts (fewer to merge), in two
  // where a short sequence leaves most SMs idle.
  const int items =
      problem.sequences * problem.kv_heads * DecodeTiles(problem.q_heads, problem.kv_heads);
  const bool short_batch = items < problem.sm_count / 4 && problem.tokens < kLongTokens;
  const int blocks_per_sm = items >= 2 * problem.sm_count ? 4 : (short_batch ? 2 : 1);
  DecodeConfig config{.warps = kWarpsPerSm / blocks_per_sm, .blocks_per_sm = blocks_per_sm};
  if (const FormatLine* line = FindLine(problem.formats); line != nullptr) {
    config.chunk_tokens = line->chunk_tokens;
    config.work_cost = line->work_tokens / line->chunk_tokens;
  }
  const size_t room = kSharedBytesPerSm / config.blocks_per_sm - kReservedBytes;
  while (config.stages < kMaxStages) {
    ++config.stages;
    if (DecodeSharedBytes(config, problem) > room) {
      --config.stages;
      break;
    }
  }
  return config;
}

DecodePlanShape DecodeShape(const DecodeConfig& config, const DecodeProblem& problem) {
  return {.kv_heads = problem.kv_heads,
          .tiles = DecodeTiles(problem.q_heads, problem.kv_heads),
          .chunk_tokens = config.chunk_tokens,
          .blocks = problem.sm_count * config.blocks_per_sm,
          .min_chunks = config.warps,
          .work_cost = config.work_cost};
}

}  // namespace baton::kernels
