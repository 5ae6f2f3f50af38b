#include "common/model/model_config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "common/base/status.h"
#include "common/model/architecture.h"

namespace baton {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

nlohmann::json Valid() {
  return nlohmann::json::parse(R"({
    "architectures": ["LlamaForCausalLM"], "hidden_act": "silu", "hidden_size": 256,
    "intermediate_size": 768, "max_position_embeddings": 2048, "num_attention_heads": 4,
    "num_hidden_layers": 6, "num_key_value_heads": 2, "rms_norm_eps": 1e-05, "vocab_size": 4096,
    "rope_theta": 10000.0, "tie_word_embeddings": true, "eos_token_id": 2, "bos_token_id": 1})");
}

absl::StatusOr<ModelConfig> Parse(const nlohmann::json& config) {
  return ParseModelConfig(config.dump(), std::nullopt);
}

TEST(ModelConfig, ReadsALlama) {
  const auto config = Parse(Valid());
  ASSERT_TRUE(config.ok()) << ToString(config.status());
  EXPECT_EQ(config->architecture->name, "LlamaForCausalLM");
  EXPECT_EQ(config->vocab_size, 4096);
  EXPECT_EQ(config->hidden_size, 256);
  EXPECT_EQ(config->intermediate_size, 768);
  EXPECT_EQ(config->layers, 6);
  EXPECT_EQ(config->heads, 4);
  EXPECT_EQ(config->kv_heads, 2);
  EXPECT_EQ(config->head_dim, 64);
  EXPECT_EQ(config->max_positions, 2048);
  EXPECT_FLOAT_EQ(config->norm_epsilon, 1e-5f);
  EXPECT_TRUE(config->tied_embeddings);
  EXPECT_FALSE(config->qkv_bias);
  EXPECT_EQ(config->bos_token, 1);
  EXPECT_THAT(config->eos_tokens, ElementsAre(2));
}

TEST(ModelConfig, ReadsBothSpellingsOfRope) {
  nlohmann::json older = Valid();
  older["rope_theta"] = 500000.0;
  older["rope_scaling"] = {{"type", "default"}};
  EXPECT_EQ(Parse(older)->rope.theta, 500000.0);
  nlohmann::json newer = Valid();
  newer.erase("rope_theta");
  newer["rope_parameters"] = {{"rope_theta", 12345.0}, {"rope_type", "default"}};
  EXPECT_EQ(Parse(newer)->rope.theta, 12345.0);
  nlohmann::json neither = Valid();
  neither.erase("rope_theta");
  EXPECT_EQ(Parse(neither)->rope.theta, 10000.0);
}

TEST(ModelConfig, ReadsLlama3Scaling) {
  nlohmann::json json = Valid();
  json["rope_scaling"] = {{"rope_type", "llama3"},
                          {"factor", 8.0},
                          {"low_freq_factor", 1.0},
                          {"high_freq_factor", 4.0},
                          {"original_max_position_embeddings", 128}};
  const auto config = Parse(json);
  ASSERT_TRUE(config.ok()) << ToString(config.status());
  EXPECT_EQ(config->rope.scaling, RopeScaling::kLlama3);
  EXPECT_EQ(config->rope.original_max_positions, 128);
  json["rope_scaling"]["high_freq_factor"] = 1.0;
  EXPECT_THAT(ToString(Parse(json).status()),
              HasSubstr("rope_scaling.high_freq_factor: 1, expected more than low_freq_factor 1"));
  json["rope_scaling"].erase("factor");
  EXPECT_THAT(ToString(Parse(json).status()), HasSubstr("rope_scaling.factor: missing"));
}

TEST(ModelConfig, GenerationConfigDecidesSpecialTokens) {
  const auto config = ParseModelConfig(Valid().dump(), R"({"eos_token_id":[5,6]})");
  ASSERT_TRUE(config.ok());
  EXPECT_THAT(config->eos_tokens, ElementsAre(5, 6));
  EXPECT_EQ(config->bos_token, 1);
  EXPECT_THAT(ToString(ParseModelConfig(Valid().dump(), R"({"eos_token_id":[5,4096]})").status()),
              HasSubstr("generation_config.json: eos_token_id: 4096, expected a token id below"));
}

TEST(ModelConfig, WithoutKeyValueHeadsEveryHeadHasItsOwn) {
  nlohmann::json json = Valid();
  json.erase("num_key_value_heads");
  EXPECT_EQ(Parse(json)->kv_heads, 4);
}

TEST(ModelConfig, FamiliesDifferInTheirDefaults) {
  nlohmann::json json = Valid();
  json["architectures"] = {"Qwen2ForCausalLM"};
  EXPECT_TRUE(Parse(json)->qkv_bias);
  EXPECT_FALSE(Parse(json)->output_bias);
  EXPECT_EQ(Parse(json)->head_dim, 64);
  json["architectures"] = {"Qwen3ForCausalLM"};
  EXPECT_TRUE(Parse(json)->qk_norm);
  EXPECT_FALSE(Parse(json)->qkv_bias);
  EXPECT_EQ(Parse(json)->head_dim, 128);
  json["head_dim"] = 32;
  json["attention_bias"] = true;
  EXPECT_EQ(Parse(json)->head_dim, 32);
  EXPECT_TRUE(Parse(json)->qkv_bias && Parse(json)->output_bias);
  json["architectures"] = {"MistralForCausalLM"};
  EXPECT_THAT(ToString(Parse(json).status()), HasSubstr("attention_bias: true, expected false"));
}

TEST(ModelConfig, TheWindowOfAMistral) {
  nlohmann::json json = Valid();
  json["architectures"] = {"MistralForCausalLM"};
  EXPECT_EQ(Parse(json)->sliding_window, 4096);
  json["sliding_window"] = nullptr;
  EXPECT_EQ(Parse(json)->sliding_window, 0);
  json["sliding_window"] = 48;
  EXPECT_EQ(Parse(json)->sliding_window, 48);
  json["layer_types"] = std::vector<std::string>(6, "sliding_attention");
  EXPECT_EQ(Parse(json)->sliding_window, 48);
  json["layer_types"][3] = "full_attention";
  EXPECT_THAT(ToString(Parse(json).status()),
              HasSubstr("layer_types: \"full_attention\", expected sliding_attention"));
  json["architectures"] = {"LlamaForCausalLM"};
  EXPECT_EQ(Parse(json).status().code(), absl::StatusCode::kUnimplemented);
  json["layer_types"] = {"full_attention"};
  EXPECT_THAT(ToString(Parse(json).status()), HasSubstr("expected an array of 6 names"));
}

struct Lie {
  const char* field;
  nlohmann::json value;
  absl::StatusCode code;
  const char* message;
};

void PrintTo(const Lie& lie, std::ostream* out) { *out << lie.field << "=" << lie.value.dump(); }

class LyingConfig : public ::testing::TestWithParam<Lie> {};

TEST_P(LyingConfig, IsRefusedByName) {
  nlohmann::json json = Valid();
  json[GetParam().field] = GetParam().value;
  const absl::Status status = Parse(json).status();
  EXPECT_EQ(status.code(), GetParam().code);
  EXPECT_THAT(std::string(MessageOf(status)), HasSubstr(GetParam().message));
}

constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;
constexpr auto kNotBuilt = absl::StatusCode::kUnimplemented;

INSTANTIATE_TEST_SUITE_P(
    Fields, LyingConfig,
    ::testing::Values(
        Lie{"architectures",
            {"MambaForCausalLM"},
            kNotBuilt,
            "architectures: \"MambaForCausalLM\""},
        Lie{"architectures", nlohmann::json::array(), kInvalid, "architectures: []"},
        Lie{"architectures", "LlamaForCausalLM", kInvalid, "expected an array of one name"},
        Lie{"hidden_act", "gelu", kNotBuilt, "hidden_act: 'gelu', expected silu"},
        Lie{"quantization_config", "awq", kInvalid,
            "quantization_config: \"awq\", expected an object"},
        Lie{"baton", {{"source_digest", "12"}}, kInvalid, "source_digest: '12', expected 32"},
        Lie{"vocab_size", 0, kInvalid, "vocab_size: 0"},
        Lie{"vocab_size", -1, kInvalid, "vocab_size: -1"},
        Lie{"vocab_size", 1e300, kInvalid, "vocab_size"},
        Lie{"vocab_size", 18446744073709551615u, kInvalid, "vocab_size: 18446744073709551615"},
        Lie{"vocab_size", "4096", kInvalid, "vocab_size: \"4096\""},
        Lie{"hidden_size", 0, kInvalid, "hidden_size: 0"},
        Lie{"hidden_size", 4294967296, kInvalid, "hidden_size: 4294967296"},
        Lie{"hidden_size", 258, kInvalid, "hidden_size: 258, expected a multiple of num_attention"},
        Lie{"hidden_size", 24, kNotBuilt, "head_dim: 6, expected a multiple of 16"},
        Lie{"intermediate_size", 100, kNotBuilt, "intermediate_size: 100"},
        Lie{"num_hidden_layers", 1000000000, kInvalid, "num_hidden_layers: 1000000000"},
        Lie{"num_attention_heads", 0, kInvalid, "num_attention_heads: 0"},
        Lie{"num_attention_heads", 5, kInvalid, "num_attention_heads: 5, expected a multiple of"},
        Lie{"num_key_value_heads", 3, kInvalid, "expected a multiple of num_key_value_heads 3"},
        Lie{"head_dim", 272, kNotBuilt, "head_dim: 272"},
        Lie{"head_dim", 40, kNotBuilt, "head_dim: 40"},
        Lie{"max_position_embeddings", 0, kInvalid, "max_position_embeddings: 0"},
        Lie{"rms_norm_eps", -1e-5, kInvalid, "rms_norm_eps"},
        Lie{"rms_norm_eps", "tiny", kInvalid, "rms_norm_eps"},
        Lie{"rope_theta", 0, kInvalid, "rope_theta: 0"},
        Lie{"rope_parameters",
            {{"rope_type", "yarn"}},
            kNotBuilt,
            "rope_parameters.rope_type: 'yarn', expected default or llama3"},
        Lie{"rope_scaling", {{"type", "linear"}}, kNotBuilt, "rope_type: 'linear'"},
        Lie{"rope_scaling", 3, kInvalid, "rope_scaling: 3, expected an object"},
        Lie{"partial_rotary_factor", 0.5, kNotBuilt, "partial_rotary_factor"},
        Lie{"tie_word_embeddings", "yes", kInvalid, "tie_word_embeddings"},
        Lie{"use_sliding_window", true, kNotBuilt, "use_sliding_window"},
        Lie{"eos_token_id", 4096, kInvalid, "eos_token_id: 4096"},
        Lie{"eos_token_id", -1, kInvalid, "eos_token_id: -1"},
        Lie{"bos_token_id", {1.5}, kInvalid, "bos_token_id: 1.5"}));

TEST(ModelConfig, EveryRequiredFieldIsMissedByName) {
  for (const char* field :
       {"architectures", "vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers",
        "num_attention_heads", "max_position_embeddings"}) {
    nlohmann::json json = Valid();
    json.erase(field);
    const absl::Status status = Parse(json).status();
    EXPECT_EQ(status.code(), kInvalid) << field;
    EXPECT_THAT(std::string(MessageOf(status)), HasSubstr(std::string(field) + ": missing"));
  }
}

TEST(InverseFrequencies, PlainRope) {
  const std::vector<float> f = InverseFrequencies(RopeConfig{.theta = 10000}, 64);
  ASSERT_EQ(f.size(), 32u);
  EXPECT_EQ(f[0], 1.0f);
  EXPECT_NEAR(f[16], 0.01f, 1e-8f);
  EXPECT_NEAR(f[31], std::pow(10000.0, -62.0 / 64), 1e-10);
}

TEST(InverseFrequencies, Llama3ScalesLongWavesOnly) {
  RopeConfig rope{.theta = 10000};
  const std::vector<float> plain = InverseFrequencies(rope, 64);
  rope.scaling = RopeScaling::kLlama3;
  rope.factor = 8;
  rope.low_freq_factor = 1;
  rope.high_freq_factor = 4;
  rope.original_max_positions = 1024;
  const std::vector<float> scaled = InverseFrequencies(rope, 64);
  EXPECT_EQ(scaled[0], plain[0]);
  EXPECT_FLOAT_EQ(scaled[31], plain[31] / 8);
  for (size_t i = 0; i < plain.size(); ++i) {
    EXPECT_LE(scaled[i], plain[i]);
    EXPECT_GE(scaled[i], plain[i] / 8.0001f);
  }
}

}  // namespace
}  // namespace baton
