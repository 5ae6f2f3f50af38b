// Rotary embedding and cache writes on the GPU. Plain C++.
#pragma once

#include <cuda_runtime_api.h>

#include <cstdint>

#include "kernels/cuda/types.h"
#include "kernels/kv_page/layout.h"

namespace baton::kernels::cuda {

// RopeAngles of rope.h on device memory: once a step, for all layers.
struct RopeAnglesParams {
  const float* inv_freq = nullptr;     // [pairs]
  int pairs = 0;                       // rotary_dim / 2
  float magnitude = 1.0f;              // multiplies both tables
  const int32_t* positions = nullptr;  // [rows]
  int rows = 0;
  float* cos = nullptr;  // [rows, pairs]
  float* sin = nullptr;  // [rows, pairs]
  cudaStream_t stream = nullptr;
};
cudaError_t RopeAngles(const RopeAnglesParams& params);

// Rotates Q in place, and writes K (rotated) and V into pages, rounded to the resident formats: one
// pass. Rotation is in fp32 without contraction, and codes are those of KvWriteReference of the
// same inputs and tables. K and V themselves are left unchanged.
struct RopeKvWriteParams {
  void* q = nullptr;        // [rows, q_heads, head_dim] of `type`; may be null with q_heads = 0
  const void* k = nullptr;  // [rows, kv_heads, head_dim]
  const void* v = nullptr;  // [rows, kv_heads, head_dim]
  int64_t q_stride = 0;     // elements from row to row
  int64_t k_stride = 0;
  int64_t v_stride = 0;
  ActivationType type = ActivationType::kFp16;
  int rows = 0;
  int q_heads = 0;
  int pairs = 0;               // a multiple of 8, at most head_dim / 2; 0: no rotation
  const float* cos = nullptr;  // [rows, pairs]
  const float* sin = nullptr;  // [rows, pairs]
  PagedKv kv;                  // pool in device memory
  int layer = 0;
  const int32_t* positions = nullptr;   // [rows]
  const int32_t* sequences = nullptr;   // [rows]: row of the page table; -1: K and V of the row are
                                        // not written (padding of a captured batch)
  const int32_t* page_table = nullptr;  // [sequences, page_table_stride]: page of position p in
                                        // column p / page_tokens
  int64_t page_table_stride = 0;
  cudaStream_t stream = nullptr;
};

// Why a launch with these parameters is refused; null if it is not. Head dimensions 64 and 128.
const char* RopeKvWriteProblem(const RopeKvWriteParams& params);
cudaError_t RopeKvWrite(const RopeKvWriteParams& params);

}  // namespace baton::kernels::cuda
