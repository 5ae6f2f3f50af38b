#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "common/model/digest.h"

namespace baton {

struct Architecture;

enum class RopeScaling { kNone, kLlama3 };

// Rotary position embedding: half-split rotation of head_dim / 2 pairs.
struct RopeConfig {
  double theta = 10000;
  RopeScaling scaling = RopeScaling::kNone;
  // kLlama3 only.
  double factor = 1;
  double low_freq_factor = 1;
  double high_freq_factor = 4;
  int64_t original_max_positions = 0;
};

// What config.json says about the weights themselves.
struct WeightsOrigin {
  // JSON text of "quantization_config", or of the file quantize_config.json or quant_config.json of
  // older tools; empty for an unquantized model. Not validated: common/quant/formats reads it.
  std::string quantization;
  // The unquantized model these weights were made from ("baton.source_digest"), where recorded.
  std::optional<Digest> source;
  // How the basis of K and V differs from the source model's ("baton.kv_basis"); empty: not at all.
  std::string kv_basis;
};

// What config.json says, validated: every field is within its range, products do not overflow, and
// the architecture is one this build can run.
struct ModelConfig {
  const Architecture* architecture = nullptr;  // an entry of the static table
  int vocab_size = 0;
  int hidden_size = 0;
  int intermediate_size = 0;
  int layers = 0;
  int heads = 0;  // query heads; a multiple of kv_heads
  int kv_heads = 0;
  int head_dim = 0;  // a multiple of 16 up to 256
  int max_positions = 0;
  float norm_epsilon = 0;
  RopeConfig rope;
  bool tied_embeddings = false;
  bool qkv_bias = false;
  bool output_bias = false;  // on the attention's output projection
  bool mlp_bias = false;
  bool qk_norm = false;    // RMSNorm of each head of Q and K before RoPE
  int sliding_window = 0;  // tokens a query sees, itself included; 0 = all
  std::optional<int> bos_token;
  std::vector<int> eos_tokens;  // of generation_config.json where it gives them
  WeightsOrigin origin;
};

// `generation_json` may be absent. INVALID_ARGUMENT for a value that is wrong, UNIMPLEMENTED for
// one that is right but not built: both name field, value and expectation.
absl::StatusOr<ModelConfig> ParseModelConfig(std::string_view config_json,
                                             std::optional<std::string_view> generation_json);

// Reads config.json and generation_config.json of a model folder. NOT_FOUND names the path.
absl::StatusOr<ModelConfig> LoadModelConfig(const std::filesystem::path& folder);

// Radians per position of each of the head_dim / 2 pairs, scaling applied.
std::vector<float> InverseFrequencies(const RopeConfig& rope, int head_dim);

}  // namespace baton
