#include "common/eval/pair_run.h"

#include <algorithm>
#include <optional>

#include "common/base/status.h"
#include "kernels/kv_pack/slab.h"

namespace baton {
namespace {

// Rows per step: the matrix products are as quick as with more, and the logits stay small.
constexpr size_t kChunk = 128;

absl::Status RunChunks(EvalRunner& target, std::span<const int32_t> pages,
                       std::span<const int32_t> tokens, int first_position, bool every_row,
                       const LogitSink& sink) {
  for (size_t at = 0; at < tokens.size(); at += kChunk) {
    const auto chunk = tokens.subspan(at, std::min(kChunk, tokens.size() - at));
    const bool last = at + chunk.size() == tokens.size();
    const int position = first_position + static_cast<int>(at);
    const std::span<const float> logits = target.runner->Logits(
        {.tokens = chunk, .first_position = position, .pages = pages, .sample = last},
        every_row ? LogitRows::kEvery : LogitRows::kSampled);
    if (logits.empty()) continue;
    const int first_target = every_row ? position + 1 : position + static_cast<int>(chunk.size());
    BATON_RETURN_IF_ERROR(sink(first_target, logits));
  }
  return absl::OkStatus();
}

absl::Status CheckGeometry(const EvalRunner& prefill, const EvalRunner& decode) {
  const auto equal = [](std::string_view field, int left, int right) {
    return left == right ? absl::OkStatus()
                         : FailedPrecondition("{}: prefill {}, decode {}, expected the same", field,
                                              left, right);
  };
  const ModelConfig& p = prefill.model->config;
  const ModelConfig& d = decode.model->config;
  BATON_RETURN_IF_ERROR(equal("geometry.layers", p.layers, d.layers));
  BATON_RETURN_IF_ERROR(equal("geometry.kv_heads", p.kv_heads, d.kv_heads));
  BATON_RETURN_IF_ERROR(equal("geometry.head_dim", p.head_dim, d.head_dim));
  return equal("model.vocab_size", p.vocab_size, d.vocab_size);
}

}  // namespace

absl::Status PairRun::Prefill(const RoleSpec& role, std::span<const int32_t> prompt, bool every_row,
                              const LogitSink& sink) {
  BATON_ASSIGN_OR_RETURN(EvalRunner * target, pool_.Get(role));
  return RunChunks(*target, target->prefill_pages, prompt, 0, every_row, sink);
}

absl::Status PairRun::HandOver(const PairSpec& pair, int tokens) {
  BATON_ASSIGN_OR_RETURN(EvalRunner * from, pool_.Get(pair.prefill));
  BATON_ASSIGN_OR_RETURN(EvalRunner * to, pool_.Get(pair.decode));
  BATON_RETURN_IF_ERROR(CheckGeometry(*from, *to));
  const kernels::KvGeometry& geometry = from->runner->kv().geometry;
  KvBlock block{.end_head = geometry.kv_heads, .end_token = tokens};
  const std::optional<kernels::SlabLayout> layout =
      kernels::SlabLayout::Make({.l1 = 1,
                                 .h1 = static_cast<uint32_t>(geometry.kv_heads),
                                 .t1 = static_cast<uint32_t>(tokens)},
                                pair.wire, geometry.head_dim);
  if (!layout) return InvalidArgument("tokens to hand over: {}, expected at least 1", tokens);
  if (payload_.size() < layout->payload_bytes()) {
    payload_ = kernels::AlignedBuffer<std::byte>(layout->payload_bytes());
  }
  const std::span<std::byte> payload(payload_.data(), layout->payload_bytes());
  for (int layer = 0; layer < geometry.layers; ++layer) {
    block.first_layer = layer;
    block.end_layer = layer + 1;
    block.pages = from->prefill_pages;
    BATON_ASSIGN_OR_RETURN(const uint64_t packed, from->runner->Pack(block, pair.wire, payload));
    block.pages = to->decode_pages;
    BATON_ASSIGN_OR_RETURN(const uint64_t landed, to->runner->Scatter(block, pair.wire, payload));
    if (packed != landed) return DataLoss("layer {}: the payload's checksum changed", layer);
  }
  return absl::OkStatus();
}

absl::Status PairRun::Decode(const RoleSpec& role, std::span<const int32_t> tokens,
                             int first_position, const LogitSink& sink) {
  BATON_ASSIGN_OR_RETURN(EvalRunner * target, pool_.Get(role));
  return RunChunks(*target, target->decode_pages, tokens, first_position, true, sink);
}

}  // namespace baton
