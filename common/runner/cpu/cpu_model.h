#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/model/checkpoint.h"
#include "common/model/model_config.h"
#include "common/quant/weight_format.h"
#include "common/runner/cpu/thread_pool.h"
#include "kernels/gemm/packed_weight.h"

namespace baton {

// A weight matrix with its bias; computes y = W x + b.
struct LinearLayer {
  kernels::PackedWeight weight;
  std::vector<float> bias;  // [n], or empty
  // Act-order checkpoints: packed column i multiplies value gather[i] of the input. [k], or empty
  // where the columns are in order.
  std::vector<int32_t> gather;
};

struct DecoderLayer {
  std::vector<float> input_norm;           // [hidden]
  std::vector<float> post_attention_norm;  // [hidden]
  std::vector<float> q_norm;               // [head_dim], or empty
  std::vector<float> k_norm;               // [head_dim], or empty
  LinearLayer qkv;                         // rows: query heads, key heads, value heads
  LinearLayer o;
  LinearLayer gate_up;  // rows: gate, up
  LinearLayer down;
};

// A model in kernel layout: each weight once, packed. Immutable after loading: any number of
// runners and threads may share it.
struct CpuModel {
  ModelConfig config;
  WeightFormat format = WeightFormat::kAuto;
  LinearLayer embedding;          // looked up by row; the output head too where embeddings are tied
  LinearLayer lm_head;            // empty where embeddings are tied
  std::vector<float> final_norm;  // [hidden]
  std::vector<float> inverse_frequencies;  // [head_dim / 2]
  std::vector<DecoderLayer> layers;

  const LinearLayer& output_head() const { return config.tied_embeddings ? embedding : lm_head; }
  size_t weight_bytes() const;
  bool any_gather() const;  // whether a layer has its inputs gathered
};

// Called after each layer with the number of layers done and in all.
using LoadProgress = std::function<void(int done, int total)>;
// Called once for each kind of matrix that is served in another form than asked for: another group
// size, or fp16 where a checkpoint's format has no kernel.
using LoadNote = std::function<void(std::string_view note)>;

struct LoadOptions {
  WeightFormat format = WeightFormat::kAuto;
  LoadProgress progress;  // may be empty
  LoadNote note;          // may be empty
};

// Packs, and where asked quantizes to nearest, layer by layer: beyond the result and the mapped
// checkpoint no more than the matrices of one product are held, unpacked. A quantized checkpoint
// is served as it is stored with kAuto where there is a kernel for it, and dequantized exactly
// before anything else otherwise. FAILED_PRECONDITION names a tensor that cannot be read or packed;
// RESOURCE_EXHAUSTED when memory ends.
absl::StatusOr<std::shared_ptr<const CpuModel>> LoadCpuModel(const Checkpoint& checkpoint,
                                                             const LoadOptions& options,
                                                             ThreadPool& pool);

}  // namespace baton
