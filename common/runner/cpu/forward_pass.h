#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "common/engine/model_runner.h"
#include "common/runner/cpu/cpu_model.h"
#include "common/runner/cpu/thread_pool.h"
#include "kernels/kv_page/layout.h"
#include "kernels/numeric/aligned_buffer.h"
#include "kernels/quantize/quantize.h"

namespace baton {

// For which tokens of a batch the logits are computed.
enum class LogitRows {
  kSampled,  // the last token of each entry with `sample`
  kEvery,    // every token of the batch, in order
};

// One step of the model as a list of kernel calls over a ragged batch: prefill chunks and decode
// rows together. Owns the activations, which grow to the largest batch seen and are then reused.
// One thread at a time. The bits of a row of logits depend on its sequence alone: not on what else
// is in the batch, on chunks, pages or the number of threads.
class ForwardPass {
 public:
  // Borrows both.
  ForwardPass(const CpuModel& model, ThreadPool& pool) : model_(model), pool_(pool) {}

  // Writes K and V of all tokens; returns [rows][vocab_size] logits, valid until the next Run.
  std::span<const float> Run(const Batch& batch, const kernels::PagedKv& kv, LogitRows wanted);

 private:
  struct Input {  // of a matrix product, in the form its weights take
    const float* values = nullptr;
    int64_t stride = 0;
  };

  void Arrange(const Batch& batch, LogitRows wanted);
  void Reserve();
  void Embed();
  // Residual stream += `projected_` (not before the first layer), then the norm into `normed_`.
  void Normalize(const std::vector<float>& weight, bool add, const LinearLayer& next);
  void NormalizeHeads(const DecoderLayer& layer);
  void RotateAndWrite(const kernels::PagedKv& kv, int layer);
  void Attend(const kernels::PagedKv& kv, int layer,
              std::span<const kernels::PagedSequence> sequences);
  void Activate(const LinearLayer& next);
  void KeepLogitRows();
  void Multiply(const LinearLayer& linear, Input input, float* out);
  // Rows [begin, end) of the input as the next product takes them: columns gathered into the order
  // of its weights, then quantized, each where it wants it.
  void QuantizeRows(const LinearLayer& next, Input input, int64_t begin, int64_t end);
  Input Gather(const LinearLayer& next, Input input, int64_t begin, int64_t end);
  kernels::QuantizedRows Quantized(const LinearLayer& next);

  // Calls fn(begin, end) for shares of the rows: on all threads, or on this one when that is
  // quicker than a barrier.
  template <typename Function>
  void ForRows(int64_t values_per_row, Function&& fn);
  // Calls a kernel's launch function(part, parts) in the same manner.
  template <typename Function>
  void Launch(int64_t work, Function&& fn);

  int64_t WidestInput() const;
  int64_t QueryWidth() const;
  int64_t KeyWidth() const;
  int64_t QkvWidth() const { return QueryWidth() + 2 * KeyWidth(); }

  const CpuModel& model_;
  ThreadPool& pool_;

  int64_t rows_ = 0;  // of the activations that the next kernel works on
  int64_t reserved_rows_ = 0;
  int64_t attended_tokens_ = 0;                    // KV tokens read by all query rows of one head
  std::vector<int32_t> positions_;                 // [rows]
  std::vector<int32_t> tokens_;                    // [rows]
  std::vector<kernels::PagedSequence> sequences_;  // all rows
  std::vector<kernels::PagedSequence> logit_sequences_;  // the rows whose logits are wanted
  std::vector<int64_t> logit_rows_;                      // ascending

  kernels::AlignedBuffer<float> hidden_;       // residual stream [rows, hidden]
  kernels::AlignedBuffer<float> normed_;       // [rows, hidden]
  kernels::AlignedBuffer<float> projected_;    // output of o and down [rows, hidden]
  kernels::AlignedBuffer<float> qkv_;          // [rows, QkvWidth]
  kernels::AlignedBuffer<float> attended_;     // [rows, QueryWidth]
  kernels::AlignedBuffer<float> gate_up_;      // [rows, 2 * intermediate]
  kernels::AlignedBuffer<float> logits_;       // [logit rows, vocabulary]
  kernels::AlignedBuffer<float> cos_;          // [rows, head_dim / 2]
  kernels::AlignedBuffer<float> sin_;          // [rows, head_dim / 2]
  kernels::AlignedBuffer<float> gathered_;     // [rows, widest input]; act-order weights only
  kernels::AlignedBuffer<int8_t> codes_;       // [rows, padded width of the widest input]
  kernels::AlignedBuffer<float> code_scales_;  // [rows]
  kernels::AlignedBuffer<int32_t> code_sums_;  // [rows, blocks of the widest input]
};

}  // namespace baton
