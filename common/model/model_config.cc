#include "common/model/model_config.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "common/base/status.h"
#include "common/model/architecture.h"
#include "common/model/json.h"
#include "common/model/mapped_file.h"
#include "common/model/model_files.h"

namespace baton {
namespace {

// Wider than any published model, narrow enough that products of three fit 64 bits.
constexpr int64_t kMaxVocabulary = 1 << 22;
constexpr int64_t kMaxWidth = 1 << 20;
constexpr int64_t kMaxLayers = 1 << 10;
constexpr int64_t kMaxHeads = 1 << 12;
constexpr int64_t kMaxPositions = 1 << 24;

#define BATON_READ_INT(target, expression)                        \
  do {                                                            \
    BATON_ASSIGN_OR_RETURN(const int64_t read_value, expression); \
    (target) = static_cast<int>(read_value);                      \
  } while (false)

std::string SupportedArchitectures() {
  std::string names;
  for (const Architecture& a : Architectures()) {
    if (!names.empty()) names += ", ";
    names += a.name;
  }
  return names;
}

absl::Status ReadArchitecture(const JsonFields& fields, ModelConfig& config) {
  const nlohmann::json* names = fields.Find("architectures");
  if (names == nullptr || !names->is_array() || names->size() != 1 || !names->front().is_string()) {
    return InvalidArgument("{}architectures: {}, expected an array of one name", fields.prefix(),
                           names == nullptr ? "missing" : ShortJson(*names));
  }
  config.architecture = FindArchitecture(names->front().get<std::string>());
  if (config.architecture == nullptr) {
    return Unimplemented("{}architectures: {}, expected one of {}", fields.prefix(),
                         ShortJson(names->front()), SupportedArchitectures());
  }
  return absl::OkStatus();
}

// Options of the format that change the arithmetic and that no kernel here follows.
absl::Status RefuseUnbuiltOptions(const JsonFields& fields) {
  BATON_ASSIGN_OR_RETURN(const std::string activation,
                         fields.String("hidden_act", std::string("silu")));
  if (activation != "silu") {
    return Unimplemented("{}hidden_act: '{}', expected silu", fields.prefix(), activation);
  }
  BATON_ASSIGN_OR_RETURN(const double partial, fields.Number("partial_rotary_factor", 0, 1, 1.0));
  if (partial != 1.0) {
    return Unimplemented("{}partial_rotary_factor: {}, expected 1", fields.prefix(), partial);
  }
  return absl::OkStatus();
}

absl::Status ReadSizes(const JsonFields& fields, ModelConfig& config) {
  BATON_READ_INT(config.vocab_size, fields.Int("vocab_size", 1, kMaxVocabulary));
  BATON_READ_INT(config.hidden_size, fields.Int("hidden_size", 16, kMaxWidth));
  BATON_READ_INT(config.intermediate_size, fields.Int("intermediate_size", 16, kMaxWidth));
  BATON_READ_INT(config.layers, fields.Int("num_hidden_layers", 1, kMaxLayers));
  BATON_READ_INT(config.heads, fields.Int("num_attention_heads", 1, kMaxHeads));
  BATON_READ_INT(config.kv_heads, fields.Int("num_key_value_heads", 1, kMaxHeads, config.heads));
  BATON_READ_INT(config.max_positions, fields.Int("max_position_embeddings", 1, kMaxPositions));
  if (config.heads % config.kv_heads != 0) {
    return InvalidArgument(
        "{}num_attention_heads: {}, expected a multiple of num_key_value_heads {}", fields.prefix(),
        config.heads, config.kv_heads);
  }
  const int default_head_dim = config.architecture->default_head_dim;
  if (!fields.Has("head_dim") && default_head_dim == 0 && config.hidden_size % config.heads != 0) {
    return InvalidArgument(
        "{}hidden_size: {}, expected a multiple of num_attention_heads {} when head_dim is absent",
        fields.prefix(), config.hidden_size, config.heads);
  }
  BATON_READ_INT(
      config.head_dim,
      fields.Int("head_dim", 1, kMaxWidth,
                 default_head_dim > 0 ? default_head_dim : config.hidden_size / config.heads));
  if (config.head_dim % 16 != 0 || config.head_dim > 256) {
    return Unimplemented("{}head_dim: {}, expected a multiple of 16 up to 256", fields.prefix(),
                         config.head_dim);
  }
  for (const auto& [name, value] : {std::pair{"hidden_size", config.hidden_size},
                                    std::pair{"intermediate_size", config.intermediate_size}}) {
    if (value % 16 != 0) {
      return Unimplemented("{}{}: {}, expected a multiple of 16", fields.prefix(), name, value);
    }
  }
  BATON_ASSIGN_OR_RETURN(const double epsilon, fields.Number("rms_norm_eps", 1e-12, 0.1, 1e-6));
  config.norm_epsilon = static_cast<float>(epsilon);
  return absl::OkStatus();
}

absl::Status ReadLlama3Scaling(const JsonFields& fields, RopeConfig& rope) {
  rope.scaling = RopeScaling::kLlama3;
  BATON_ASSIGN_OR_RETURN(rope.factor, fields.Number("factor", 1, 1e6));
  BATON_ASSIGN_OR_RETURN(rope.low_freq_factor, fields.Number("low_freq_factor", 1e-6, 1e6));
  BATON_ASSIGN_OR_RETURN(rope.high_freq_factor, fields.Number("high_freq_factor", 1e-6, 1e6));
  if (rope.high_freq_factor <= rope.low_freq_factor) {
    return InvalidArgument("{}high_freq_factor: {}, expected more than low_freq_factor {}",
                           fields.prefix(), rope.high_freq_factor, rope.low_freq_factor);
  }
  BATON_ASSIGN_OR_RETURN(rope.original_max_positions,
                         fields.Int("original_max_position_embeddings", 1, kMaxPositions));
  return absl::OkStatus();
}

// Two spellings exist: "rope_parameters" with theta inside, and "rope_theta" beside an optional
// "rope_scaling".
absl::Status ReadRope(const JsonFields& fields, RopeConfig& rope) {
  constexpr double kMinTheta = 1;
  constexpr double kMaxTheta = 1e12;
  const bool combined = fields.Has("rope_parameters");
  BATON_ASSIGN_OR_RETURN(rope.theta, fields.Number("rope_theta", kMinTheta, kMaxTheta, 10000.0));
  const std::string_view section = combined ? "rope_parameters" : "rope_scaling";
  if (!fields.Has(section)) return absl::OkStatus();
  BATON_ASSIGN_OR_RETURN(const JsonFields scaling, fields.Object(section));
  if (combined) {
    BATON_ASSIGN_OR_RETURN(rope.theta,
                           scaling.Number("rope_theta", kMinTheta, kMaxTheta, rope.theta));
  }
  // Before "rope_type" the key was "type".
  BATON_ASSIGN_OR_RETURN(const std::string older, scaling.String("type", std::string("default")));
  BATON_ASSIGN_OR_RETURN(const std::string type, scaling.String("rope_type", older));
  if (type == "default") return absl::OkStatus();
  if (type == "llama3") return ReadLlama3Scaling(scaling, rope);
  return Unimplemented("{}rope_type: '{}', expected default or llama3", scaling.prefix(), type);
}

absl::Status ReadSlidingWindow(const JsonFields& fields, ModelConfig& config) {
  const int fallback = config.architecture->default_sliding_window;
  BATON_ASSIGN_OR_RETURN(const bool used, fields.Bool("use_sliding_window", fallback > 0));
  if (fallback == 0) {
    if (!used) return absl::OkStatus();
    return Unimplemented("{}use_sliding_window: true, expected false for {}", fields.prefix(),
                         config.architecture->name);
  }
  if (!used || fields.IsNull("sliding_window")) return absl::OkStatus();
  BATON_READ_INT(config.sliding_window, fields.Int("sliding_window", 1, kMaxPositions, fallback));
  return absl::OkStatus();
}

// Newer files also name the attention of each layer: all must be what the family does anyway.
absl::Status CheckLayerTypes(const JsonFields& fields, const ModelConfig& config) {
  const nlohmann::json* types = fields.Find("layer_types");
  if (types == nullptr) return absl::OkStatus();
  const std::string_view expected =
      config.sliding_window > 0 ? "sliding_attention" : "full_attention";
  if (!types->is_array() || types->size() != static_cast<size_t>(config.layers)) {
    return InvalidArgument("{}layer_types: {}, expected an array of {} names", fields.prefix(),
                           ShortJson(*types), config.layers);
  }
  for (const nlohmann::json& type : *types) {
    if (type != expected) {
      return Unimplemented("{}layer_types: {}, expected {} for every layer", fields.prefix(),
                           ShortJson(type), expected);
    }
  }
  return absl::OkStatus();
}

absl::Status ReadFlags(const JsonFields& fields, ModelConfig& config) {
  const Architecture& architecture = *config.architecture;
  BATON_ASSIGN_OR_RETURN(config.tied_embeddings, fields.Bool("tie_word_embeddings", false));
  BATON_ASSIGN_OR_RETURN(const bool attention_bias, fields.Bool("attention_bias", false));
  if (attention_bias && !architecture.qkv_bias_by_config) {
    return Unimplemented("{}attention_bias: true, expected false for {}", fields.prefix(),
                         architecture.name);
  }
  config.qkv_bias = architecture.qkv_bias_always || attention_bias;
  config.output_bias = attention_bias;
  BATON_ASSIGN_OR_RETURN(config.mlp_bias, fields.Bool("mlp_bias", false));
  config.qk_norm = architecture.qk_norm;
  BATON_RETURN_IF_ERROR(ReadSlidingWindow(fields, config));
  return CheckLayerTypes(fields, config);
}

// One id, or an array of ids.
absl::StatusOr<std::vector<int>> ReadTokens(const JsonFields& fields, std::string_view name,
                                            int vocab_size) {
  constexpr size_t kMaxTokens = 256;
  std::vector<int> tokens;
  const nlohmann::json* value = fields.Find(name);
  if (value == nullptr) return tokens;
  const nlohmann::json list = value->is_array() ? *value : nlohmann::json::array({*value});
  if (list.size() > kMaxTokens) {
    return InvalidArgument("{}{}: {} ids, expected at most {}", fields.prefix(), name, list.size(),
                           kMaxTokens);
  }
  for (const nlohmann::json& id : list) {
    if (!id.is_number_integer() || id < 0 || id >= vocab_size) {
      return InvalidArgument("{}{}: {}, expected a token id below vocab_size {}", fields.prefix(),
                             name, ShortJson(id), vocab_size);
    }
    tokens.push_back(id.get<int>());
  }
  return tokens;
}

absl::Status ReadSpecialTokens(const JsonFields& fields, ModelConfig& config) {
  BATON_ASSIGN_OR_RETURN(const std::vector<int> bos,
                         ReadTokens(fields, "bos_token_id", config.vocab_size));
  if (!bos.empty()) config.bos_token = bos.front();
  BATON_ASSIGN_OR_RETURN(std::vector<int> eos,
                         ReadTokens(fields, "eos_token_id", config.vocab_size));
  if (!eos.empty()) config.eos_tokens = std::move(eos);
  return absl::OkStatus();
}

absl::Status ReadOrigin(const JsonFields& fields, WeightsOrigin& origin) {
  constexpr size_t kMaxBasisBytes = 256;
  if (fields.Has("quantization_config")) {
    BATON_RETURN_IF_ERROR(fields.Object("quantization_config").status());
    origin.quantization = fields.Find("quantization_config")->dump();
  }
  if (!fields.Has("baton")) return absl::OkStatus();
  BATON_ASSIGN_OR_RETURN(const JsonFields ours, fields.Object("baton"));
  BATON_ASSIGN_OR_RETURN(const std::string source, ours.String("source_digest", std::string()));
  if (!source.empty()) {
    origin.source = Digest::Parse(source);
    if (!origin.source) {
      return InvalidArgument("{}source_digest: '{}', expected 32 hexadecimal digits", ours.prefix(),
                             source.substr(0, kMaxBasisBytes));
    }
  }
  BATON_ASSIGN_OR_RETURN(origin.kv_basis, ours.String("kv_basis", std::string()));
  if (origin.kv_basis.size() > kMaxBasisBytes) {
    return InvalidArgument("{}kv_basis: {} bytes, expected at most {}", ours.prefix(),
                           origin.kv_basis.size(), kMaxBasisBytes);
  }
  return absl::OkStatus();
}

// Older tools wrote what is now config.json's "quantization_config" to a file of its own.
absl::Status ReadOlderQuantization(const std::filesystem::path& folder, std::string& quantization) {
  constexpr size_t kMaxBytes = 1 << 20;
  for (const char* name : {"quantize_config.json", "quant_config.json"}) {
    const absl::StatusOr<std::string> text = ReadTextFile(folder / name, kMaxBytes);
    if (text.status().code() == absl::StatusCode::kNotFound) continue;
    if (!text.ok()) return text.status();
    BATON_ASSIGN_OR_RETURN(nlohmann::json object, ParseJsonObject(*text, name, JsonLimits{}));
    if (!object.contains("quant_method")) {
      object["quant_method"] = std::string_view(name) == "quantize_config.json" ? "gptq" : "awq";
    }
    quantization = object.dump();
    return absl::OkStatus();
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view config_json,
                                             std::optional<std::string_view> generation_json) {
  BATON_ASSIGN_OR_RETURN(const nlohmann::json object,
                         ParseJsonObject(config_json, "config.json", JsonLimits{}));
  const JsonFields fields(object, "config.json: ");
  ModelConfig config;
  BATON_RETURN_IF_ERROR(ReadArchitecture(fields, config));
  BATON_RETURN_IF_ERROR(RefuseUnbuiltOptions(fields));
  BATON_RETURN_IF_ERROR(ReadSizes(fields, config));
  BATON_RETURN_IF_ERROR(ReadRope(fields, config.rope));
  BATON_RETURN_IF_ERROR(ReadFlags(fields, config));
  BATON_RETURN_IF_ERROR(ReadSpecialTokens(fields, config));
  BATON_RETURN_IF_ERROR(ReadOrigin(fields, config.origin));
  if (generation_json) {
    BATON_ASSIGN_OR_RETURN(
        const nlohmann::json generation,
        ParseJsonObject(*generation_json, "generation_config.json", JsonLimits{}));
    BATON_RETURN_IF_ERROR(
        ReadSpecialTokens(JsonFields(generation, "generation_config.json: "), config));
  }
  return config;
}

absl::StatusOr<ModelConfig> LoadModelConfig(const std::filesystem::path& folder) {
  constexpr size_t kMaxBytes = 1 << 20;
  BATON_ASSIGN_OR_RETURN(const std::optional<std::filesystem::path> gguf, FindGguf(folder));
  if (gguf) {
    BATON_ASSIGN_OR_RETURN(const GgufFile file, GgufFile::Open(*gguf));
    return file.Config();
  }
  BATON_ASSIGN_OR_RETURN(const std::string config, ReadTextFile(folder / "config.json", kMaxBytes));
  absl::StatusOr<std::string> generation =
      ReadTextFile(folder / "generation_config.json", kMaxBytes);
  if (!generation.ok() && generation.status().code() != absl::StatusCode::kNotFound) {
    return generation.status();
  }
  absl::StatusOr<ModelConfig> parsed = ParseModelConfig(
      config, generation.ok() ? std::optional<std::string_view>(*generation) : std::nullopt);
  if (parsed.ok() && parsed->origin.quantization.empty()) {
    const absl::Status status = ReadOlderQuantization(folder, parsed->origin.quantization);
    if (!status.ok()) parsed = status;
  }
  if (!parsed.ok()) return Annotate(parsed.status(), folder.string());
  return parsed;
}

std::vector<float> InverseFrequencies(const RopeConfig& rope, int head_dim) {
  std::vector<float> frequencies(head_dim / 2);
  for (size_t i = 0; i < frequencies.size(); ++i) {
    const float exponent = static_cast<float>(2 * i) / static_cast<float>(head_dim);
    // Single precision at each step, as the reference implementation computes it.
    float frequency = 1.0f / std::pow(static_cast<float>(rope.theta), exponent);
    if (rope.scaling == RopeScaling::kLlama3) {
      const double wavelength = 2 * std::numbers::pi / frequency;
      const auto original = static_cast<double>(rope.original_max_positions);
      const double low_wavelength = original / rope.low_freq_factor;
      const double high_wavelength = original / rope.high_freq_factor;
      if (wavelength > low_wavelength) {
        frequency = static_cast<float>(frequency / rope.factor);
      } else if (wavelength >= high_wavelength) {
        const double smooth = (original / wavelength - rope.low_freq_factor) /
                              (rope.high_freq_factor - rope.low_freq_factor);
        frequency = static_cast<float>((1 - smooth) * frequency / rope.factor + smooth * frequency);
      }
    }
    frequencies[i] = frequency;
  }
  return frequencies;
}

}  // namespace baton
