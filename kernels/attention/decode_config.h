// How the GPU's decode attention is laid out for a batch. Pure host code.
#pragma once

#include <cstddef>
#include <cstdint>

#include "kernels/attention/decode_plan.h"
#include "kernels/kv_page/kv_format.h"

namespace baton::kernels {

struct DecodeConfig {
  int warps = 8;   // of a block, each with its own ring of stages
  int stages = 1;  // of chunk_tokens tokens of K and V, in shared memory
  int blocks_per_sm = 2;
  int chunk_tokens = 16;  // tokens a warp takes at a time; fixed by the formats
  int work_cost = 0;      // for PlanDecode

  friend bool operator==(const DecodeConfig&, const DecodeConfig&) = default;
};

struct DecodeProblem {
  KvFormats formats;
  int head_dim = 0;
  int q_heads = 0;
  int kv_heads = 0;
  int sequences = 0;
  int sm_count = 0;
  int64_t tokens = 0;  // of all sequences, about; 0: not known
};

// Tokens a warp takes at a time: fixed by the kernel of these formats. 0 if there is none (there is
// for equal formats and for k8v4).
int DecodeChunkTokens(KvFormats formats);
// The fastest layout known (measured on an H100, see README.md). A captured launch keeps its
// layout: capture one for each number of sequences.
DecodeConfig ChooseDecode(const DecodeProblem& problem);

// What PlanDecode needs of the launch; the caller adds lengths and window. The grid is sm_count *
// blocks_per_sm blocks whatever the lengths, so that a captured launch serves every later plan.
DecodePlanShape DecodeShape(const DecodeConfig& config, const DecodeProblem& problem);

// Dynamic shared memory of a block.
size_t DecodeSharedBytes(const DecodeConfig& config, const DecodeProblem& problem);

}  // namespace baton::kernels
