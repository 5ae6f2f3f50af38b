#include "common/model/architecture.h"

#include <gtest/gtest.h>

#include <map>
#include <set>

namespace baton {
namespace {

ModelConfig Config() {
  ModelConfig config;
  config.architecture = FindArchitecture("LlamaForCausalLM");
  config.vocab_size = 100;
  config.hidden_size = 64;
  config.intermediate_size = 160;
  config.layers = 3;
  config.heads = 4;
  config.kv_heads = 2;
  config.head_dim = 32;
  return config;
}

std::map<std::string, std::vector<int64_t>> Shapes(const ModelConfig& config) {
  std::map<std::string, std::vector<int64_t>> shapes;
  for (const WeightSpec& spec : ExpectedWeights(config)) shapes[spec.name] = spec.shape;
  return shapes;
}

TEST(Architecture, FindsByNameOnly) {
  ASSERT_NE(FindArchitecture("LlamaForCausalLM"), nullptr);
  EXPECT_EQ(FindArchitecture("Llama"), nullptr);
  EXPECT_EQ(FindArchitecture(""), nullptr);
}

TEST(ExpectedWeights, ShapesFollowTheConfiguration) {
  const auto shapes = Shapes(Config());
  EXPECT_EQ(shapes.size(), 3u + 3 * 9);
  EXPECT_EQ(shapes.at("model.embed_tokens.weight"), (std::vector<int64_t>{100, 64}));
  EXPECT_EQ(shapes.at("lm_head.weight"), (std::vector<int64_t>{100, 64}));
  EXPECT_EQ(shapes.at("model.layers.2.self_attn.q_proj.weight"), (std::vector<int64_t>{128, 64}));
  EXPECT_EQ(shapes.at("model.layers.0.self_attn.k_proj.weight"), (std::vector<int64_t>{64, 64}));
  EXPECT_EQ(shapes.at("model.layers.0.self_attn.o_proj.weight"), (std::vector<int64_t>{64, 128}));
  EXPECT_EQ(shapes.at("model.layers.1.mlp.down_proj.weight"), (std::vector<int64_t>{64, 160}));
  EXPECT_EQ(shapes.at("model.norm.weight"), (std::vector<int64_t>{64}));
}

TEST(ExpectedWeights, FlagsAddAndRemoveTensors) {
  ModelConfig config = Config();
  config.tied_embeddings = true;
  config.qkv_bias = true;
  config.qk_norm = true;
  config.mlp_bias = true;
  const auto shapes = Shapes(config);
  EXPECT_FALSE(shapes.contains("lm_head.weight"));
  EXPECT_FALSE(shapes.contains("model.layers.0.self_attn.o_proj.bias"));
  EXPECT_EQ(shapes.at("model.layers.0.self_attn.q_proj.bias"), (std::vector<int64_t>{128}));
  EXPECT_EQ(shapes.at("model.layers.0.self_attn.q_norm.weight"), (std::vector<int64_t>{32}));
  EXPECT_EQ(shapes.at("model.layers.0.mlp.gate_proj.bias"), (std::vector<int64_t>{160}));
}

}  // namespace
}  // namespace baton
