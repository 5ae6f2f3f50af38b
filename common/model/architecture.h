#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "common/model/model_config.h"

namespace baton {

// What differs between the decoder families we run. A new family is a new entry of the table.
struct Architecture {
  std::string_view name;    // entry of config.json's "architectures"
  bool qkv_bias_by_config;  // "attention_bias" decides, for Q, K, V and the output projection
  bool qkv_bias_always;     // on Q, K and V only
  bool qk_norm;             // RMSNorm of each head of Q and K
  // "sliding_window" applies to every layer; the value where it is absent (null: no window). 0: the
  // family has none.
  int default_sliding_window;
  int default_head_dim;  // where "head_dim" is absent; 0: hidden_size / heads
};

// nullptr when we cannot run it.
const Architecture* FindArchitecture(std::string_view name);
std::span<const Architecture> Architectures();

enum class WeightKind {
  kEmbedding,
  kFinalNorm,
  kLmHead,
  kInputNorm,
  kPostAttentionNorm,
  kQ,
  kK,
  kV,
  kO,
  kQBias,
  kKBias,
  kVBias,
  kOBias,
  kQNorm,
  kKNorm,
  kGate,
  kUp,
  kDown,
  kGateBias,
  kUpBias,
  kDownBias,
};

// Whether it is the matrix of a linear layer (the output head is one, the embedding is not).
bool IsLinearLayer(WeightKind kind);

// Tensor name in a Hugging Face checkpoint. `layer` is ignored by kinds that are not per layer.
std::string WeightName(WeightKind kind, int layer);

struct WeightSpec {
  WeightKind kind;
  int layer;  // −1: not of a layer
  std::string name;
  std::vector<int64_t> shape;  // [rows, columns] of a matrix, [n] of a vector
};

// Every tensor that a checkpoint of this configuration must hold.
std::vector<WeightSpec> ExpectedWeights(const ModelConfig& config);

}  // namespace baton
