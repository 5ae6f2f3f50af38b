#pragma once

#include <cstdint>
#include <span>

#include "kernels/kv_page/layout.h"

namespace baton::kernels {

// Rotation angles of a batch, computed once and used by every layer. Frequencies are data, so every
// scaling rule (linear, llama3, yarn) is the caller's: angle(row, i) = float(position) *
// inv_freq[i] in fp32.
struct RopeAnglesParams {
  const float* inv_freq = nullptr;     // [pairs]
  int pairs = 0;                       // rotary_dim / 2
  float magnitude = 1.0f;              // multiplies both tables (yarn's attention factor)
  const int32_t* positions = nullptr;  // [rows]
  int rows = 0;
  float* cos = nullptr;  // [rows, pairs]
  float* sin = nullptr;  // [rows, pairs]
};
void RopeAngles(const RopeAnglesParams& params, int part, int parts);

// Rotates heads in place, Hugging Face's half-split convention: dimension i pairs with i + pairs,
// for i < pairs; dimensions from 2 * pairs on pass through.
struct RopeParams {
  float* x = nullptr;    // [rows, heads, head_dim]
  int64_t x_stride = 0;  // floats from row to row
  int rows = 0;
  int heads = 0;
  int head_dim = 0;
  int pairs = 0;               // 2 * pairs <= head_dim
  const float* cos = nullptr;  // [rows, pairs]
  const float* sin = nullptr;  // [rows, pairs]
};
void RopeReference(const RopeParams& params);
void RopeCpu(const RopeParams& params, int part, int parts);

// Writes a batch's K (after rotation) and V into pages, rounded to the resident formats (numbers.md
// "KV formats"). K and V themselves are left unchanged. Row r of sequence s goes to position
// s.first_position + r.
struct KvWriteParams {
  const float* k = nullptr;  // [rows, kv_heads, head_dim]
  const float* v = nullptr;  // [rows, kv_heads, head_dim]
  int64_t k_stride = 0;      // floats from row to row
  int64_t v_stride = 0;
  int pairs = 0;               // 0: no rotation
  const float* cos = nullptr;  // [rows, pairs]
  const float* sin = nullptr;  // [rows, pairs]
  PagedKv kv;
  int layer = 0;
  std::span<const PagedSequence> sequences;
};
void KvWriteReference(const KvWriteParams& params);
void KvWriteCpu(const KvWriteParams& params, int part, int parts);

}  // namespace baton::kernels
