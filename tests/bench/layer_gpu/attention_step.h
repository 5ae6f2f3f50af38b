// The KV cache of a layer benchmark, and the launches that use it: rotation and write, attention.
#pragma once

#include <cuda_runtime_api.h>

#include <memory>
#include <vector>

#include "kernels/attention/decode_config.h"
#include "kernels/attention/decode_cuda.h"
#include "kernels/attention/prefill_cuda.h"
#include "kernels/kv_page/layout.h"
#include "tests/bench/kernels_gpu/bench.h"
#include "tests/gpu/support/memory.h"

namespace baton::bench {

struct AttentionShape {
  ModelShape model;
  kernels::KvFormats kv;
  kernels::cuda::ActivationType type = kernels::cuda::ActivationType::kFp16;
  bool prefill = false;
  int sequences = 0;
  int context = 0;  // tokens of each sequence
  int copies = 0;   // layers of the cache
};

class AttentionStep {
 public:
  static constexpr int kPageTokens = 64;

  // Fills the cache of every layer with random keys and values by the kernel that writes them.
  AttentionStep(GpuBench& bench, const AttentionShape& shape);

  // Rotates the queries of `qkv` [rows, (heads + 2 kv_heads) head_dim] in place and writes its keys
  // and values.
  cudaError_t Write(int copy, void* qkv, cudaStream_t stream) const;
  // out [rows, heads · head_dim].
  cudaError_t Attend(int copy, const void* qkv, void* out, cudaStream_t stream) const;
  double bytes() const;  // of KV that Attend reads

 private:
  int rows() const { return shape_.prefill ? shape_.context : shape_.sequences; }
  int qkv_width() const;
  cudaError_t WriteRows(int copy, void* qkv, int rows, const int32_t* positions,
                        const int32_t* sequences, bool rotate, cudaStream_t stream) const;
  void PlanDecodeAttention();
  void PlanPrefillAttention();
  void FillCache();

  GpuBench& bench_;
  AttentionShape shape_;
  kernels::KvPageLayout layout_;
  int pages_per_sequence_;
  kernels::cuda::DeviceBytes pool_;
  kernels::cuda::DeviceArray<int32_t> page_table_, positions_, sequences_;
  kernels::cuda::DeviceArray<float> cos_, sin_;
  kernels::DecodeConfig decode_config_;
  kernels::cuda::DeviceArray<int32_t> decode_plan_;
  kernels::cuda::PrefillPlan prefill_plan_;
  kernels::cuda::DeviceBytes prefill_image_;
  kernels::cuda::DeviceBytes workspace_;
};

}  // namespace baton::bench
