#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/model/checkpoint.h"
#include "common/quant/algorithms/code_spec.h"
#include "common/quant/algorithms/matrix.h"

namespace baton {

// The linear layers of a decoder layer, in the order in which they are computed.
enum class Linear { kQ, kK, kV, kO, kGate, kUp, kDown };
inline constexpr int kLinears = 7;
inline constexpr std::array<Linear, kLinears> kAllLinears = {
    Linear::kQ, Linear::kK, Linear::kV, Linear::kO, Linear::kGate, Linear::kUp, Linear::kDown};

WeightKind KindOf(Linear linear);
std::optional<WeightKind> BiasKindOf(Linear linear);
// "self_attn.q_proj"
std::string ShortNameOf(Linear linear);
// Its module in a Hugging Face checkpoint: "model.layers.3.self_attn.q_proj".
std::string ModuleOf(Linear linear, int layer);

struct FloatLinear {
  Matrix weight;            // [out, in]
  std::vector<float> bias;  // [out], or empty
  // Inputs are rounded per token before the product, as the served kernel does.
  std::optional<CodeKind> activations;
};

// One decoder layer in fp32.
struct FloatLayer {
  std::vector<float> input_norm;           // [hidden]
  std::vector<float> post_attention_norm;  // [hidden]
  std::vector<float> q_norm;               // [head_dim], or empty
  std::vector<float> k_norm;               // [head_dim], or empty
  std::array<FloatLinear, kLinears> linears;

  FloatLinear& operator[](Linear l) { return linears[static_cast<size_t>(l)]; }
  const FloatLinear& operator[](Linear l) const { return linears[static_cast<size_t>(l)]; }
};

// The residual stream at its start, [tokens, hidden]. INVALID_ARGUMENT for an id that is none.
absl::StatusOr<Matrix> EmbedTokens(const Checkpoint& checkpoint, std::span<const int32_t> tokens);

FloatLayer LoadFloatLayer(const Checkpoint& checkpoint, int layer);
// A matrix or vector of the checkpoint in fp32; a vector has one row.
Matrix LoadMatrix(const Checkpoint& checkpoint, WeightKind kind, int layer);

}  // namespace baton
