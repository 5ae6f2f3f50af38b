#include "common/model/gguf_model.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <cstring>
#include <utility>

#include "common/base/status.h"
#include "common/model/json.h"
#include "common/model/model_config.h"

namespace baton {
namespace {

struct Family {
  std::string_view gguf;
  std::string_view class_name;
  bool interleaved_heads;
};
constexpr std::array<Family, 3> kFamilies = {{
    {"llama", "LlamaForCausalLM", true},
    {"qwen2", "Qwen2ForCausalLM", false},
    {"qwen3", "Qwen3ForCausalLM", false},
}};

constexpr std::array kTopNames = {
    std::pair{std::string_view("token_embd"), std::string_view("model.embed_tokens")},
    std::pair{std::string_view("output_norm"), std::string_view("model.norm")},
    std::pair{std::string_view("output"), std::string_view("lm_head")},
};
constexpr std::array kLayerNames = {
    std::pair{std::string_view("attn_norm"), std::string_view("input_layernorm")},
    std::pair{std::string_view("ffn_norm"), std::string_view("post_attention_layernorm")},
    std::pair{std::string_view("attn_q"), std::string_view("self_attn.q_proj")},
    std::pair{std::string_view("attn_k"), std::string_view("self_attn.k_proj")},
    std::pair{std::string_view("attn_v"), std::string_view("self_attn.v_proj")},
    std::pair{std::string_view("attn_output"), std::string_view("self_attn.o_proj")},
    std::pair{std::string_view("attn_q_norm"), std::string_view("self_attn.q_norm")},
    std::pair{std::string_view("attn_k_norm"), std::string_view("self_attn.k_norm")},
    std::pair{std::string_view("ffn_gate"), std::string_view("mlp.gate_proj")},
    std::pair{std::string_view("ffn_up"), std::string_view("mlp.up_proj")},
    std::pair{std::string_view("ffn_down"), std::string_view("mlp.down_proj")},
};

template <typename Names>
std::optional<std::string_view> Lookup(const Names& names, std::string_view name) {
  for (const auto& [from, to] : names) {
    if (from == name) return to;
  }
  return std::nullopt;
}

// Copies a value where there is one; ParseModelConfig checks it.
void Copy(const JsonFields& from, const std::string& key, std::string_view to,
          nlohmann::json& config) {
  if (const nlohmann::json* value = from.Find(key)) config[std::string(to)] = *value;
}

absl::Status AddRope(const GgufContent& content, const JsonFields& fields,
                     const std::string& prefix, nlohmann::json& config) {
  Copy(fields, prefix + "rope.freq_base", "rope_theta", config);
  BATON_ASSIGN_OR_RETURN(const std::string scaling,
                         fields.String(prefix + "rope.scaling.type", std::string("none")));
  if (scaling != "none") {
    return Unimplemented("{}{}rope.scaling.type: '{}', expected none", fields.prefix(), prefix,
                         scaling);
  }
  const GgufTensor* factors = content.Find("rope_freqs.weight");
  if (factors == nullptr) return absl::OkStatus();
  const auto refused = [&](std::string_view what) {
    return Unimplemented("{}tensor 'rope_freqs.weight': {}, expected those of Llama 3",
                         fields.prefix(), what);
  };
  const auto pairs = static_cast<size_t>(factors->shape.front());
  if (factors->type->name != "F32" || factors->shape.size() != 1 || pairs > 128) {
    return refused("not a vector of up to 128 F32");
  }
  std::vector<float> stored(pairs);
  std::memcpy(stored.data(), factors->bytes.data(), factors->bytes.size());
  RopeConfig plain;
  BATON_ASSIGN_OR_RETURN(plain.theta,
                         fields.Number(prefix + "rope.freq_base", 1, 1e12, plain.theta));
  RopeConfig scaled = plain;
  scaled.scaling = RopeScaling::kLlama3;
  scaled.factor = *std::max_element(stored.begin(), stored.end());
  scaled.original_max_positions = 8192;
  if (!(scaled.factor >= 1) || scaled.factor > 1e6) return refused("factors out of range");
  const std::vector<float> before = InverseFrequencies(plain, static_cast<int>(2 * pairs));
  const std::vector<float> after = InverseFrequencies(scaled, static_cast<int>(2 * pairs));
  for (size_t i = 0; i < pairs; ++i) {
    constexpr float kTolerance = 1e-4f;
    const float expected = before[i] / after[i];
    if (!(std::abs(stored[i] - expected) <= kTolerance * expected)) {
      return refused(fmt::format("factor {} of pair {}", stored[i], i));
    }
  }
  config["rope_scaling"] = {{"rope_type", "llama3"},
                            {"factor", scaled.factor},
                            {"low_freq_factor", scaled.low_freq_factor},
                            {"high_freq_factor", scaled.high_freq_factor},
                            {"original_max_position_embeddings", scaled.original_max_positions}};
  return absl::OkStatus();
}

// The width of a head, which the file gives in up to three places.
absl::Status AddHeadDim(const JsonFields& fields, const std::string& prefix,
                        nlohmann::json& config) {
  Copy(fields, prefix + "attention.key_length", "head_dim", config);
  for (const char* name : {"attention.value_length", "rope.dimension_count"}) {
    const nlohmann::json* value = fields.Find(prefix + name);
    if (value == nullptr) continue;
    if (!config.contains("head_dim")) {
      config["head_dim"] = *value;
    } else if (config["head_dim"] != *value) {
      return Unimplemented("{}{}{}: {}, expected attention.key_length {}", fields.prefix(), prefix,
                           name, ShortJson(*value), ShortJson(config["head_dim"]));
    }
  }
  return absl::OkStatus();
}

const Family* FindFamily(const GgufContent& content) {
  const auto name = content.metadata.find("general.architecture");
  if (name == content.metadata.end()) return nullptr;
  const auto it = std::find_if(kFamilies.begin(), kFamilies.end(),
                               [&](const Family& family) { return *name == family.gguf; });
  return it == kFamilies.end() ? nullptr : &*it;
}

}  // namespace

absl::StatusOr<std::string> GgufConfigJson(const GgufContent& content, std::string_view what) {
  const JsonFields fields(content.metadata, fmt::format("{}: ", what));
  BATON_ASSIGN_OR_RETURN(const std::string architecture, fields.String("general.architecture"));
  const Family* family = FindFamily(content);
  if (family == nullptr) {
    return Unimplemented("{}: general.architecture: '{}', expected llama, qwen2 or qwen3", what,
                         architecture.substr(0, 64));
  }
  const std::string prefix = architecture + ".";
  BATON_ASSIGN_OR_RETURN(const int64_t experts, fields.Int(prefix + "expert_count", 0, 1 << 20, 0));
  if (experts > 0) {
    return Unimplemented("{}: {}expert_count: {}, expected none", what, prefix, experts);
  }
  nlohmann::json config = {{"architectures", {family->class_name}}};
  for (const auto& [key, name] : {std::pair{"embedding_length", "hidden_size"},
                                  {"feed_forward_length", "intermediate_size"},
                                  {"block_count", "num_hidden_layers"},
                                  {"attention.head_count", "num_attention_heads"},
                                  {"attention.head_count_kv", "num_key_value_heads"},
                                  {"context_length", "max_position_embeddings"},
                                  {"attention.layer_norm_rms_epsilon", "rms_norm_eps"}}) {
    if (!fields.Has(prefix + key) && std::string_view(key) != "attention.head_count_kv") {
      return InvalidArgument("{}: {}{}: missing, expected a number", what, prefix, key);
    }
    Copy(fields, prefix + key, name, config);
  }
  BATON_ASSIGN_OR_RETURN(const int64_t window,
                         fields.Int(prefix + "attention.sliding_window", 0, INT32_MAX, 0));
  if (window > 0) {
    if (architecture != "llama") {
      return Unimplemented("{}: {}attention.sliding_window: {}, expected none", what, prefix,
                           window);
    }
    config["architectures"] = {"MistralForCausalLM"};
    config["sliding_window"] = window;
  }
  BATON_RETURN_IF_ERROR(AddHeadDim(fields, prefix, config));
  BATON_RETURN_IF_ERROR(AddRope(content, fields, prefix, config));
  const GgufTensor* embedding = content.Find("token_embd.weight");
  if (embedding == nullptr || embedding->shape.size() != 2) {
    return InvalidArgument("{}: tensor 'token_embd.weight': expected a matrix", what);
  }
  config["vocab_size"] = embedding->shape.front();
  config["tie_word_embeddings"] = content.Find("output.weight") == nullptr;
  if (architecture == "llama" && window == 0) {
    config["attention_bias"] = content.Find("blk.0.attn_q.bias") != nullptr;
  }
  Copy(fields, "tokenizer.ggml.bos_token_id", "bos_token_id", config);
  nlohmann::json ends = nlohmann::json::array();
  for (const char* key : {"tokenizer.ggml.eos_token_id", "tokenizer.ggml.eot_token_id"}) {
    const nlohmann::json* id = fields.Find(key);
    if (id != nullptr && std::find(ends.begin(), ends.end(), *id) == ends.end())
      ends.push_back(*id);
  }
  if (!ends.empty()) config["eos_token_id"] = std::move(ends);
  return config.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::optional<std::string> HuggingFaceName(std::string_view name) {
  constexpr std::string_view kLayer = "blk.";
  const size_t dot = name.rfind('.');
  if (dot == std::string_view::npos) return std::nullopt;
  const std::string_view kind = name.substr(dot);  // ".weight" or ".bias"
  std::string_view stem = name.substr(0, dot);
  if (!stem.starts_with(kLayer)) {
    const auto top = Lookup(kTopNames, stem);
    return top ? std::optional(fmt::format("{}{}", *top, kind)) : std::nullopt;
  }
  stem.remove_prefix(kLayer.size());
  int layer = 0;
  const auto [end, error] = std::from_chars(stem.data(), stem.data() + stem.size(), layer);
  if (error != std::errc() || layer < 0 || end == stem.data() + stem.size() || *end != '.') {
    return std::nullopt;
  }
  const auto inner = Lookup(kLayerNames, stem.substr(static_cast<size_t>(end - stem.data()) + 1));
  if (!inner) return std::nullopt;
  return fmt::format("model.layers.{}.{}{}", layer, *inner, kind);
}

bool HasInterleavedHeads(const GgufContent& content) {
  const Family* family = FindFamily(content);
  return family != nullptr && family->interleaved_heads;
}

}  // namespace baton
