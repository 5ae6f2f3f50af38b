#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

#include "kernels/kv_page/layout.h"

namespace baton::kernels {

// Causal grouped-query attention over paged KV, for prefill chunks and decode alike: a ragged batch
// of sequences, each with its page table, the position of its first query and its number of
// queries. The query at position p attends to tokens max(0, p - window + 1) ... p, all of which are
// already in the pages (KvWrite of the same layer came first).
//
// Determinism: an output row depends, bit by bit, only on its query and on the values of the tokens
// it sees: not on batch, chunking, page size or `parts` (within one dispatch target). Every score
// is one chain of FMAs over the dimensions in ascending order; tokens are taken in blocks of 16
// counted from position 0, with an online softmax block by block; blocks are grouped into spans of
// kAttentionSpanTokens counted from 0, whose partial results are merged in ascending order. A
// masked token has no influence at all, even if its page holds NaN.
inline constexpr int kAttentionBlockTokens = 16;
inline constexpr int kAttentionSpanTokens = 1024;

struct AttentionParams {
  const float* q = nullptr;  // [rows, q_heads, head_dim], after rotation
  int64_t q_stride = 0;      // floats from row to row
  float* out = nullptr;      // [rows, q_heads, head_dim]
  int64_t out_stride = 0;
  int q_heads =
      0;  // a multiple of the cache's kv_heads; query head h reads KV head h / (q_heads / kv_heads)
  float scale = 0.0f;  // usually 1 / sqrt(head_dim)
  int window = 0;      // tokens seen, the query's own included; 0: all
  PagedKv kv;
  int layer = 0;
  std::span<const PagedSequence> sequences;
};

// One pass in double precision per row: softmax over all scores, then the weighted sum.
void AttentionReference(const AttentionParams& params);

// Work is (sequence, KV head, tile of queries); assigned to the parts by estimated cost.
void AttentionCpu(const AttentionParams& params, int part, int parts);

}  // namespace baton::kernels
