#include "common/model/checkpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "common/base/status.h"
#include "tests/common/model/safetensors_builder.h"

namespace baton {
namespace {

using ::testing::HasSubstr;

constexpr const char* kConfig = R"({
    "architectures": ["LlamaForCausalLM"], "hidden_size": 16, "intermediate_size": 32,
    "max_position_embeddings": 64, "num_attention_heads": 1, "num_hidden_layers": 2,
    "rms_norm_eps": 1e-05, "vocab_size": 8, "tie_word_embeddings": true})";

struct Entry {
  std::string name;
  std::string type = "F16";
  std::vector<int64_t> shape;
};

std::vector<Entry> Complete() {
  std::vector<Entry> entries;
  for (const WeightSpec& spec : ExpectedWeights(*ParseModelConfig(kConfig, std::nullopt))) {
    entries.push_back({spec.name, "F16", spec.shape});
  }
  return entries;
}

// The bytes of a tensor depend on its name alone, so that sharding does not change them.
std::string Image(const std::vector<Entry>& entries) {
  nlohmann::json header;
  std::string data;
  for (const Entry& e : entries) {
    size_t bytes = e.type == "F64" ? 8 : e.type == "F32" ? 4 : 2;
    for (const int64_t size : e.shape) bytes *= static_cast<size_t>(size);
    header[e.name] = {{"dtype", e.type},
                      {"shape", e.shape},
                      {"data_offsets", {data.size(), data.size() + bytes}}};
    for (size_t i = 0; i < bytes; ++i) data.push_back(static_cast<char>(e.name.size() + i % 7));
  }
  return test::SafetensorsImage(header.dump(), 0) + data;
}

class CheckpointTest : public ::testing::Test {
 protected:
  CheckpointTest() { Write("config.json", kConfig); }
  void Write(const std::string& name, std::string_view content) {
    test::WriteFile(folder_.path() / name, content);
  }
  absl::Status Open() { return Checkpoint::Open(folder_.path()).status(); }

  test::TemporaryFolder folder_;
};

TEST_F(CheckpointTest, OpensACompleteFile) {
  auto entries = Complete();
  entries.push_back({"model.layers.0.self_attn.rotary_emb.inv_freq", "F32", {8}});
  Write("model.safetensors", Image(entries));
  const auto checkpoint = Checkpoint::Open(folder_.path());
  ASSERT_TRUE(checkpoint.ok()) << ToString(checkpoint.status());
  EXPECT_EQ(checkpoint->Get(WeightKind::kEmbedding).shape, (std::vector<int64_t>{8, 16}));
  EXPECT_EQ(checkpoint->Get(WeightKind::kDown, 1).shape, (std::vector<int64_t>{16, 32}));
  EXPECT_THAT(checkpoint->unused(),
              ::testing::ElementsAre("model.layers.0.self_attn.rotary_emb.inv_freq"));
}

TEST_F(CheckpointTest, ShardsGiveTheSameDigest) {
  const auto entries = Complete();
  Write("model.safetensors", Image(entries));
  const Digest whole = Checkpoint::Open(folder_.path())->ComputeDigest();
  const std::vector<Entry> first(entries.begin() + 7, entries.end());
  const std::vector<Entry> second(entries.begin(), entries.begin() + 7);
  Write("a.safetensors", Image(first));
  Write("b.safetensors", Image(second));
  nlohmann::json index;
  for (const Entry& e : first) index["weight_map"][e.name] = "a.safetensors";
  for (const Entry& e : second) index["weight_map"][e.name] = "b.safetensors";
  Write("model.safetensors.index.json", index.dump());
  const auto sharded = Checkpoint::Open(folder_.path());
  ASSERT_TRUE(sharded.ok()) << ToString(sharded.status());
  EXPECT_EQ(sharded->ComputeDigest(), whole);
}

TEST_F(CheckpointTest, DigestFollowsWeightsAndConfiguration) {
  Write("model.safetensors", Image(Complete()));
  const Digest digest = Checkpoint::Open(folder_.path())->ComputeDigest();
  std::string image = Image(Complete());
  image.back() ^= 1;
  Write("model.safetensors", image);
  EXPECT_NE(Checkpoint::Open(folder_.path())->ComputeDigest(), digest);
  Write("model.safetensors", Image(Complete()));
  nlohmann::json config = nlohmann::json::parse(kConfig);
  config["rope_theta"] = 20000.0;
  Write("config.json", config.dump());
  EXPECT_NE(Checkpoint::Open(folder_.path())->ComputeDigest(), digest);
}

TEST_F(CheckpointTest, NamesWhatIsWrongWithATensor) {
  auto missing = Complete();
  std::erase_if(missing, [](const Entry& e) { return e.name == "model.norm.weight"; });
  Write("model.safetensors", Image(missing));
  EXPECT_EQ(Open().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(ToString(Open()), HasSubstr("tensor 'model.norm.weight': missing"));

  auto wrong_shape = Complete();
  for (Entry& e : wrong_shape) {
    if (e.name == "model.layers.1.self_attn.k_proj.weight") e.shape = {16, 8};
  }
  Write("model.safetensors", Image(wrong_shape));
  EXPECT_EQ(Open().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(ToString(Open()), HasSubstr("tensor 'model.layers.1.self_attn.k_proj.weight': shape "
                                          "[16, 8], expected [16, 16]"));

  auto wrong_type = Complete();
  for (Entry& e : wrong_type) {
    if (e.name == "model.norm.weight") e.type = "F64";
  }
  Write("model.safetensors", Image(wrong_type));
  EXPECT_THAT(ToString(Open()),
              HasSubstr("tensor 'model.norm.weight': type F64, expected F32, F16 or BF16"));
}

TEST_F(CheckpointTest, NamesAbsentFiles) {
  EXPECT_EQ(Open().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(ToString(Open()), HasSubstr("model.safetensors"));
  Write("model.safetensors.index.json", R"({"weight_map":{"x":"absent.safetensors"}})");
  EXPECT_EQ(Open().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(ToString(Open()), HasSubstr("absent.safetensors"));
  std::filesystem::remove(folder_.path() / "config.json");
  EXPECT_THAT(ToString(Open()), HasSubstr("config.json"));
}

TEST_F(CheckpointTest, AnIndexCannotLeadOutOfTheFolderOrLie) {
  Write("model.safetensors", Image(Complete()));
  for (const char* file : {"../model.safetensors", "/etc/passwd", "..", "", "."}) {
    nlohmann::json index;
    index["weight_map"]["x"] = file;
    Write("model.safetensors.index.json", index.dump());
    EXPECT_EQ(Open().code(), absl::StatusCode::kInvalidArgument) << file;
    EXPECT_THAT(ToString(Open()), HasSubstr("expected the name of a file in the folder"));
  }
  Write("model.safetensors.index.json", R"({"weight_map":{"x":"model.safetensors"}})");
  EXPECT_THAT(ToString(Open()), HasSubstr("weight_map.x: model.safetensors does not hold it"));
  Write("model.safetensors.index.json", R"({"metadata":{}})");
  EXPECT_THAT(ToString(Open()), HasSubstr("weight_map missing"));
}

TEST_F(CheckpointTest, ATensorInTwoShardsIsRefused) {
  Write("a.safetensors", Image(Complete()));
  Write("b.safetensors", Image({{"model.norm.weight", "F16", {16}}, {"x", "F16", {1}}}));
  Write("model.safetensors.index.json",
        R"({"weight_map":{"model.norm.weight":"a.safetensors","x":"b.safetensors"}})");
  EXPECT_THAT(ToString(Open()), HasSubstr("'model.norm.weight' stands in two files"));
}

TEST(CheckpointFixtures, ShippedModelOpens) {
  const auto checkpoint = Checkpoint::Open(BATON_TINY_MODEL);
  ASSERT_TRUE(checkpoint.ok()) << ToString(checkpoint.status());
  EXPECT_EQ(checkpoint->config().layers, 6);
  EXPECT_TRUE(checkpoint->unused().empty());
  EXPECT_TRUE(TokenizerDigest(BATON_TINY_MODEL).ok());
}

TEST(CheckpointFixtures, ThreeShardsOpen) {
  const std::filesystem::path folder =
      std::filesystem::path(BATON_SHARED_DIR) / "models/arch/llama3_rope";
  if (!std::filesystem::exists(folder)) GTEST_SKIP() << folder << " is not here";
  const auto checkpoint = Checkpoint::Open(folder);
  ASSERT_TRUE(checkpoint.ok()) << ToString(checkpoint.status());
  EXPECT_EQ(checkpoint->config().rope.scaling, RopeScaling::kLlama3);
  EXPECT_FALSE(checkpoint->config().tied_embeddings);
}

}  // namespace
}  // namespace baton
