#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/kv_pack/kv_pack.h"

namespace baton::kernels {

// How one dispatch target reads and writes scale groups (the contract of DecodeKvGroup and
// EncodeKvGroup).
struct KvTranscoder {
  void (*decode)(const std::byte* codes, const std::byte* scale, int head_dim, float* x) = nullptr;
  void (*encode)(const float* x, int head_dim, std::byte* codes, std::byte* scale) = nullptr;
};

// Transcoder of K and of V. Used only for a tensor whose formats differ.
struct KvTranscoders {
  KvTranscoder k;
  KvTranscoder v;
};

// One part of a pack or scatter: the walk over both layouts, run by run of tokens that are
// neighbours in a page. A tensor (K or V) of a layer is never split, so parts beyond 2 x layers
// have nothing to do.
uint64_t PackWalk(const PackParams& params, const KvTranscoders& transcoders, int part, int parts);
uint64_t ScatterWalk(const ScatterParams& params, const KvTranscoders& transcoders, int part,
                     int parts);

}  // namespace baton::kernels
