#include "tests/bench/layer_gpu/attention_step.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <random>

#include "kernels/rope/cuda.h"
#include "tests/bench/kernels_gpu/fill.h"

namespace baton::bench {
namespace {

namespace cuda = kernels::cuda;

constexpr int kFillRows = 4096;  // rows of keys and values made at a time
constexpr float kRopeBase = 500000.0f;

}  // namespace

AttentionStep::AttentionStep(GpuBench& bench, const AttentionShape& shape)
    : bench_(bench),
      shape_(shape),
      layout_({.layers = shape.copies,
               .kv_heads = shape.model.kv_heads,
               .head_dim = shape.model.head_dim},
              shape.kv, kPageTokens),
      pages_per_sequence_((shape.context + kPageTokens - 1) / kPageTokens),
      pool_(layout_.page_bytes() * pages_per_sequence_ * shape.sequences) {
  std::vector<int32_t> table(static_cast<size_t>(pages_per_sequence_) * shape.sequences);
  std::iota(table.begin(), table.end(), 0);
  std::shuffle(table.begin(), table.end(), std::mt19937(1));
  page_table_ = cuda::DeviceArray<int32_t>(table);
  std::vector<int32_t> positions(rows());
  std::vector<int32_t> sequences(rows());
  for (int row = 0; row < rows(); ++row) {
    positions[row] = shape.prefill ? row : shape.context - 1;
    sequences[row] = shape.prefill ? 0 : row;
  }
  positions_ = cuda::DeviceArray<int32_t>(positions);
  sequences_ = cuda::DeviceArray<int32_t>(sequences);
  const int pairs = shape.model.head_dim / 2;
  std::vector<float> inv_freq(pairs);
  for (int i = 0; i < pairs; ++i) {
    inv_freq[i] = std::pow(kRopeBase, -static_cast<float>(i) / static_cast<float>(pairs));
  }
  const cuda::DeviceArray<float> frequencies(inv_freq);
  cos_ = cuda::DeviceArray<float>(static_cast<size_t>(rows()) * pairs);
  sin_ = cuda::DeviceArray<float>(static_cast<size_t>(rows()) * pairs);
  cuda::OrAbort(cuda::RopeAngles({.inv_freq = frequencies.data(),
                                  .pairs = pairs,
                                  .positions = positions_.data(),
                                  .rows = rows(),
                                  .cos = cos_.data(),
                                  .sin = sin_.data()}),
                "rope angles");
  FillCache();
  if (shape.prefill) {
    PlanPrefillAttention();
  } else {
    PlanDecodeAttention();
  }
  cuda::OrAbort(cudaDeviceSynchronize(), "attention setup");
}

int AttentionStep::qkv_width() const {
  return (shape_.model.heads + 2 * shape_.model.kv_heads) * shape_.model.head_dim;
}

cudaError_t AttentionStep::WriteRows(int copy, void* qkv, int rows, const int32_t* positions,
                                     const int32_t* sequences, bool rotate,
                                     cudaStream_t stream) const {
  const ModelShape& model = shape_.model;
  uint16_t* q = static_cast<uint16_t*>(qkv);
  uint16_t* k = q + model.heads * model.head_dim;
  return cuda::RopeKvWrite({.q = rotate ? q : nullptr,
                            .k = k,
                            .v = k + model.kv_heads * model.head_dim,
                            .q_stride = qkv_width(),
                            .k_stride = qkv_width(),
                            .v_stride = qkv_width(),
                            .type = shape_.type,
                            .rows = rows,
                            .q_heads = rotate ? model.heads : 0,
                            .pairs = rotate ? model.head_dim / 2 : 0,
                            .cos = cos_.data(),
                            .sin = sin_.data(),
                            .kv = {static_cast<std::byte*>(pool_.data()), layout_},
                            .layer = copy,
                            .positions = positions,
                            .sequences = sequences,
                            .page_table = page_table_.data(),
                            .page_table_stride = pages_per_sequence_,
                            .stream = stream});
}

void AttentionStep::FillCache() {
  const cuda::DeviceBytes qkv(size_t{2} * kFillRows * qkv_width());
  const int tokens = shape_.sequences * shape_.context;
  for (int first = 0; first < tokens; first += kFillRows) {
    const int count = std::min(kFillRows, tokens - first);
    std::vector<int32_t> positions(count);
    std::vector<int32_t> sequences(count);
    for (int i = 0; i < count; ++i) {
      positions[i] = (first + i) % shape_.context;
      sequences[i] = (first + i) / shape_.context;
    }
    const cuda::DeviceArray<int32_t> device_positions(positions);
    const cuda::DeviceArray<int32_t> device_sequences(sequences);
    for (int copy = 0; copy < shape_.copies; ++copy) {
      FillActivations(shape_.type, qkv.data(), qkv.bytes() / 2, 1.0f, first + 31 * copy + 7);
      cuda::OrAbort(WriteRows(copy, qkv.data(), count, device_positions.data(),
                              device_sequences.data(), false, nullptr),
                    "fill cache");
    }
    cuda::OrAbort(cudaDeviceSynchronize(), "fill cache");
  }
}

void AttentionStep::PlanDecodeAttention() {
  const ModelShape& model = shape_.model;
  const int sm_count = bench_.device().sm_count;
  const kernels::DecodeProblem problem = {.formats = shape_.kv,
                                          .head_dim = model.head_dim,
                                          .q_heads = model.heads,
                                          .kv_heads = model.kv_heads,
                                          .sequences = shape_.sequences,
                                          .sm_count = sm_count};
  decode_config_ = kernels::ChooseDecode(problem);
  kernels::DecodePlanShape plan = kernels::DecodeShape(decode_config_, problem);
  const std::vector<int32_t> lengths(shape_.sequences, shape_.context);
  plan.lengths = lengths;
  decode_plan_ = cuda::DeviceArray<int32_t>(kernels::PlanDecode(plan).Words());
  workspace_ =
      cuda::DeviceBytes(cuda::DecodeWorkspaceBytes(decode_config_, sm_count, model.head_dim));
  cuda::OrAbort(cudaMemset(workspace_.data(), 0, workspace_.bytes()), "workspace");
}

void AttentionStep::PlanPrefillAttention() {
  const ModelShape& model = shape_.model;
  const cuda::PrefillShape plan = {.q_heads = model.heads,
                                   .kv_heads = model.kv_heads,
                                   .head_dim = model.head_dim,
                                   .page_tokens = kPageTokens,
                                   .gathered = cuda::PrefillNeedsGather(shape_.type, shape_.kv)};
  const kernels::PagedSequence sequence = {.pages = page_table_.data(), .rows = shape_.context};
  prefill_plan_ =
      cuda::PlanPrefill(plan, {&sequence, 1}, {bench_.device().sm_count, bench_.device().l2_bytes});
  std::vector<std::byte> image(prefill_plan_.ImageBytes());
  prefill_plan_.WriteImage(image.data());
  prefill_image_ = cuda::DeviceBytes(image.size());
  prefill_image_.CopyFrom(image.data());
  workspace_ = cuda::DeviceBytes(prefill_plan_.WorkspaceBytes());
}

cudaError_t AttentionStep::Write(int copy, void* qkv, cudaStream_t stream) const {
  return WriteRows(copy, qkv, rows(), positions_.data(), sequences_.data(), true, stream);
}

cudaError_t AttentionStep::Attend(int copy, const void* qkv, void* out, cudaStream_t stream) const {
  const ModelShape& model = shape_.model;
  const float scale = 1.0f / std::sqrt(static_cast<float>(model.head_dim));
  if (shape_.prefill) {
    return cuda::AttentionPrefill({.q = qkv,
                                   .q_stride = qkv_width(),
                                   .out = out,
                                   .out_stride = model.heads * model.head_dim,
                                   .type = shape_.type,
                                   .scale = scale,
                                   .pool = static_cast<const std::byte*>(pool_.data()),
                                   .pool_pages = pages_per_sequence_ * shape_.sequences,
                                   .layout = layout_,
                                   .layer = copy,
                                   .plan = &prefill_plan_,
                                   .image = static_cast<std::byte*>(prefill_image_.data()),
                                   .workspace = workspace_.data(),
                                   .workspace_bytes = workspace_.bytes(),
                                   .sm_count = bench_.device().sm_count,
                                   .stream = stream});
  }
  return cuda::DecodeAttention({.q = qkv,
                                .q_stride = qkv_width(),
                                .out = out,
                                .out_stride = model.heads * model.head_dim,
                                .type = shape_.type,
                                .q_heads = model.heads,
                                .scale = scale,
                                .kv = {static_cast<std::byte*>(pool_.data()), layout_},
                                .layer = copy,
                                .page_table = page_table_.data(),
                                .page_table_stride = pages_per_sequence_,
                                .plan = decode_plan_.data(),
                                .config = decode_config_,
                                .sm_count = bench_.device().sm_count,
                                .overlaps_predecessor = true,  // it is Write of the same layer
                                .workspace = workspace_.data(),
                                .workspace_bytes = workspace_.bytes(),
                                .stream = stream});
}

double AttentionStep::bytes() const {
  double group = 0.0;
  for (const kernels::KvTensor tensor : {kernels::KvTensor::kKey, kernels::KvTensor::kValue}) {
    group += static_cast<double>(layout_.code_bytes(tensor) + layout_.scale_bytes(tensor));
  }
  return group * shape_.model.kv_heads * shape_.context * shape_.sequences;
}

}  // namespace baton::bench
