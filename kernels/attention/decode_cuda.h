// Decode attention on the GPU: one query row a sequence, over paged KV of any format. Plain C++.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>

#include "kernels/attention/decode_config.h"
#include "kernels/attention/decode_plan.h"
#include "kernels/cuda/types.h"
#include "kernels/kv_page/layout.h"

namespace baton::kernels::cuda {

struct DecodeAttentionParams {
  const void* q = nullptr;  // [sequences, q_heads, head_dim] of `type`, after rotation
  int64_t q_stride = 0;     // elements from row to row
  void* out = nullptr;      // [sequences, q_heads, head_dim] of `type`
  int64_t out_stride = 0;
  ActivationType type = ActivationType::kFp16;
  int q_heads = 0;  // a multiple of the cache's kv_heads
  float scale = 0.0f;
  PagedKv kv;  // pool in device memory
  int layer = 0;
  const int32_t* page_table = nullptr;  // device: [sequences, page_table_stride], page of token t
                                        // in column t / page_tokens; pages before the window may be
                                        // anything
  int64_t page_table_stride = 0;
  const int32_t* plan = nullptr;  // device: DecodePlan::Words() of PlanDecode(DecodeShape(...)),
                                  // the same for all layers of a step; 16-byte aligned
  DecodeConfig config;
  int sm_count = 0;
  // Reads of plan, page table and cache may start before the stream's preceding kernel has
  // finished, except for the last token of each sequence. Right where that kernel writes nothing
  // else of them (RopeKvWrite of the same step), and what wrote the rest was not a kernel launched
  // to overlap.
  bool overlaps_predecessor = false;
  void* workspace = nullptr;   // device, 16-byte aligned. Zeroed once by the owner; a launch leaves
  size_t workspace_bytes = 0;  // it so again. At least DecodeWorkspaceBytes
  cudaStream_t stream = nullptr;
};

size_t DecodeWorkspaceBytes(const DecodeConfig& config, int sm_count, int head_dim);

// Why a launch with these parameters is refused; null if it is not. Head dimensions 64 and 128; the
// six formats and k8v4.
const char* DecodeAttentionProblem(const DecodeAttentionParams& params);

// Scores and weighted sums go through fp16 products of exactly dequantized codes (bf16 pages: bf16
// products, query and probabilities as two bf16 terms each), accumulated in fp32. Probabilities are
// rounded to 11 bits. Deterministic for equal plans. Sequences without a work are left alone.
cudaError_t DecodeAttention(const DecodeAttentionParams& params);

}  // namespace baton::kernels::cuda
