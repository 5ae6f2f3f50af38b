#include "common/model/architecture.h"

#include <fmt/format.h>

#include <array>

#include "common/base/check.h"

namespace baton {
namespace {

constexpr std::array kArchitectures = {
    Architecture{.name = "LlamaForCausalLM",
                 .qkv_bias_by_config = true,
                 .qkv_bias_always = false,
                 .qk_norm = false,
                 .default_sliding_window = 0,
                 .default_head_dim = 0},
    Architecture{.name = "Qwen2ForCausalLM",
                 .qkv_bias_by_config = false,
                 .qkv_bias_always = true,
                 .qk_norm = false,
                 .default_sliding_window = 0,
                 .default_head_dim = 0},
    Architecture{.name = "Qwen3ForCausalLM",
                 .qkv_bias_by_config = true,
                 .qkv_bias_always = false,
                 .qk_norm = true,
                 .default_sliding_window = 0,
                 .default_head_dim = 128},
    Architecture{.name = "MistralForCausalLM",
                 .qkv_bias_by_config = false,
                 .qkv_bias_always = false,
                 .qk_norm = false,
                 .default_sliding_window = 4096,
                 .default_head_dim = 0},
};

struct WeightRow {
  WeightKind kind;
  bool per_layer;
  std::string_view name;  // below "model.layers.N." when per layer
};

constexpr std::array kWeights = {
    WeightRow{WeightKind::kEmbedding, false, "model.embed_tokens.weight"},
    WeightRow{WeightKind::kFinalNorm, false, "model.norm.weight"},
    WeightRow{WeightKind::kLmHead, false, "lm_head.weight"},
    WeightRow{WeightKind::kInputNorm, true, "input_layernorm.weight"},
    WeightRow{WeightKind::kPostAttentionNorm, true, "post_attention_layernorm.weight"},
    WeightRow{WeightKind::kQ, true, "self_attn.q_proj.weight"},
    WeightRow{WeightKind::kK, true, "self_attn.k_proj.weight"},
    WeightRow{WeightKind::kV, true, "self_attn.v_proj.weight"},
    WeightRow{WeightKind::kO, true, "self_attn.o_proj.weight"},
    WeightRow{WeightKind::kQBias, true, "self_attn.q_proj.bias"},
    WeightRow{WeightKind::kKBias, true, "self_attn.k_proj.bias"},
    WeightRow{WeightKind::kVBias, true, "self_attn.v_proj.bias"},
    WeightRow{WeightKind::kOBias, true, "self_attn.o_proj.bias"},
    WeightRow{WeightKind::kQNorm, true, "self_attn.q_norm.weight"},
    WeightRow{WeightKind::kKNorm, true, "self_attn.k_norm.weight"},
    WeightRow{WeightKind::kGate, true, "mlp.gate_proj.weight"},
    WeightRow{WeightKind::kUp, true, "mlp.up_proj.weight"},
    WeightRow{WeightKind::kDown, true, "mlp.down_proj.weight"},
    WeightRow{WeightKind::kGateBias, true, "mlp.gate_proj.bias"},
    WeightRow{WeightKind::kUpBias, true, "mlp.up_proj.bias"},
    WeightRow{WeightKind::kDownBias, true, "mlp.down_proj.bias"},
};

const WeightRow& RowOf(WeightKind kind) {
  for (const WeightRow& row : kWeights) {
    if (row.kind == kind) return row;
  }
  BATON_CHECK(false && "every WeightKind has a row");
  return kWeights[0];
}

bool Present(WeightKind kind, const ModelConfig& c) {
  switch (kind) {
    case WeightKind::kLmHead:
      return !c.tied_embeddings;
    case WeightKind::kQBias:
    case WeightKind::kKBias:
    case WeightKind::kVBias:
      return c.qkv_bias;
    case WeightKind::kOBias:
      return c.output_bias;
    case WeightKind::kQNorm:
    case WeightKind::kKNorm:
      return c.qk_norm;
    case WeightKind::kGateBias:
    case WeightKind::kUpBias:
    case WeightKind::kDownBias:
      return c.mlp_bias;
    case WeightKind::kEmbedding:
    case WeightKind::kFinalNorm:
    case WeightKind::kInputNorm:
    case WeightKind::kPostAttentionNorm:
    case WeightKind::kQ:
    case WeightKind::kK:
    case WeightKind::kV:
    case WeightKind::kO:
    case WeightKind::kGate:
    case WeightKind::kUp:
    case WeightKind::kDown:
      return true;
  }
  return false;
}

std::vector<int64_t> ShapeOf(WeightKind kind, const ModelConfig& c) {
  const int64_t hidden = c.hidden_size;
  const int64_t query = int64_t{c.heads} * c.head_dim;
  const int64_t key = int64_t{c.kv_heads} * c.head_dim;
  switch (kind) {
    case WeightKind::kEmbedding:
    case WeightKind::kLmHead:
      return {c.vocab_size, hidden};
    case WeightKind::kFinalNorm:
    case WeightKind::kInputNorm:
    case WeightKind::kPostAttentionNorm:
    case WeightKind::kOBias:
    case WeightKind::kDownBias:
      return {hidden};
    case WeightKind::kQ:
      return {query, hidden};
    case WeightKind::kK:
    case WeightKind::kV:
      return {key, hidden};
    case WeightKind::kO:
      return {hidden, query};
    case WeightKind::kQBias:
      return {query};
    case WeightKind::kKBias:
    case WeightKind::kVBias:
      return {key};
    case WeightKind::kQNorm:
    case WeightKind::kKNorm:
      return {c.head_dim};
    case WeightKind::kGate:
    case WeightKind::kUp:
      return {c.intermediate_size, hidden};
    case WeightKind::kDown:
      return {hidden, c.intermediate_size};
    case WeightKind::kGateBias:
    case WeightKind::kUpBias:
      return {c.intermediate_size};
  }
  return {};
}

}  // namespace

std::span<const Architecture> Architectures() { return kArchitectures; }

const Architecture* FindArchitecture(std::string_view name) {
  for (const Architecture& architecture : kArchitectures) {
    if (architecture.name == name) return &architecture;
  }
  return nullptr;
}

bool IsLinearLayer(WeightKind kind) {
  switch (kind) {
    case WeightKind::kQ:
    case WeightKind::kK:
    case WeightKind::kV:
    case WeightKind::kO:
    case WeightKind::kGate:
    case WeightKind::kUp:
    case WeightKind::kDown:
    case WeightKind::kLmHead:
      return true;
    case WeightKind::kEmbedding:
    case WeightKind::kFinalNorm:
    case WeightKind::kInputNorm:
    case WeightKind::kPostAttentionNorm:
    case WeightKind::kQBias:
    case WeightKind::kKBias:
    case WeightKind::kVBias:
    case WeightKind::kOBias:
    case WeightKind::kQNorm:
    case WeightKind::kKNorm:
    case WeightKind::kGateBias:
    case WeightKind::kUpBias:
    case WeightKind::kDownBias:
      return false;
  }
  return false;
}

std::string WeightName(WeightKind kind, int layer) {
  const WeightRow& row = RowOf(kind);
  return row.per_layer ? fmt::format("model.layers.{}.{}", layer, row.name) : std::string(row.name);
}

std::vector<WeightSpec> ExpectedWeights(const ModelConfig& config) {
  std::vector<WeightSpec> specs;
  for (const WeightRow& row : kWeights) {
    if (!Present(row.kind, config)) continue;
    const int first = row.per_layer ? 0 : -1;
    const int last = row.per_layer ? config.layers : 0;
    for (int layer = first; layer < last; ++layer) {
      specs.push_back({row.kind, layer, WeightName(row.kind, layer), ShapeOf(row.kind, config)});
    }
  }
  return specs;
}

}  // namespace baton
