// Prefill attention on the GPU (sm_90a): causal grouped-query attention of a ragged batch over
// paged keys and values, which are read as they were rounded when they were written (KvWrite of the
// same layer came first, for all tokens). Head dimensions 64 and 128; queries in fp16 or bf16;
// every resident format and page size; optional sliding window.
//
// Where both K and V are stored in the type of the queries, pages are read in place. Other formats
// are first expanded to that type (rounded to it: 2^-11 of a value for fp16, 2^-9 for bf16) in
// `workspace`, by a launch of its own. Weights are rounded to the same type before they meet the
// values; sums are fp32.
//
// Equal launches give equal bits. Nothing is allocated and nothing waits; a CUDA graph may capture
// the launches. A masked token has no influence at all, even if it holds NaN.
#pragma once

#include <cuda_runtime_api.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>

#include "kernels/attention/prefill_plan.h"
#include "kernels/cuda/types.h"
#include "kernels/kv_page/layout.h"

namespace baton::kernels::cuda {

struct AttentionPrefillParams {
  const void* q =
      nullptr;  // [plan rows, q_heads, head_dim] of `type`, after rotation; 16-byte aligned
  int64_t q_stride = 0;    // elements from row to row, a multiple of 8
  void* out = nullptr;     // [plan rows, q_heads, head_dim] of `type`; 16-byte aligned
  int64_t out_stride = 0;  // a multiple of 8
  ActivationType type = ActivationType::kFp16;
  float scale = 0.0f;               // above 0, usually 1 / sqrt(head_dim)
  const std::byte* pool = nullptr;  // pages in device memory, 64-byte aligned
  int32_t pool_pages = 0;
  KvPageLayout layout;
  int layer = 0;
  const PrefillPlan* plan = nullptr;  // host memory, needed during the call only
  // The plan's image in device memory (PrefillPlan::WriteImage), 16-byte aligned. It holds the
  // counters of the launch: launches that share it follow one another.
  std::byte* image = nullptr;
  void* workspace = nullptr;   // 128-byte aligned; may be null if the plan wants none
  size_t workspace_bytes = 0;  // at least plan->WorkspaceBytes()
  int sm_count = 0;            // of the device
  cudaStream_t stream = nullptr;
};

// Whether keys and values have to be expanded: the value of PrefillShape::gathered.
bool PrefillNeedsGather(ActivationType type, KvFormats formats);

// Why a launch would be refused (names field, value, expectation), or nothing. Pure.
std::optional<std::string> AttentionPrefillProblem(const AttentionPrefillParams& params);

// cudaErrorInvalidValue where AttentionPrefillProblem has something to say. A plan without tiles
// launches nothing.
cudaError_t AttentionPrefill(const AttentionPrefillParams& params);

}  // namespace baton::kernels::cuda
