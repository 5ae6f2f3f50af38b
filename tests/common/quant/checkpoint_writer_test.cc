#include "common/quant/checkpoint_writer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

#include "common/base/status.h"
#include "common/model/mapped_file.h"
#include "tests/common/model/safetensors_builder.h"
#include "tests/common/quant/tiny_model.h"

namespace baton {
namespace {

using kernels::CodeType;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr uint32_t kSeed = 11;
constexpr ActivationScheme kFloatInput;
constexpr ActivationScheme kInt8Input{.type = ActivationType::kInt8};

class CheckpointWriterTest : public ::testing::Test {
 protected:
  CheckpointWriterTest() {
    test::WriteTinyModel(BaseFolder(), kSeed);
    base_.emplace(*Checkpoint::Open(BaseFolder()));
  }
  std::filesystem::path BaseFolder() const { return folder_.path() / "base"; }
  std::filesystem::path Out() const { return folder_.path() / "out"; }

  absl::StatusOr<std::unique_ptr<CheckpointWriter>> Create(CheckpointWriterOptions options = {}) {
    return CheckpointWriter::Create(*base_, BaseFolder(), Out(), std::move(options));
  }
  QuantizedTensor Quantized(WeightKind kind, int layer, int64_t group, CodeType type) const {
    const TensorView& view = base_->Get(kind, layer);
    QuantizedMatrix matrix =
        MakeQuantizedMatrix(view.shape[0], view.shape[1], group == 0 ? view.shape[1] : group, type);
    RoundToNearest(view, matrix, 0, 1);
    return ToTensor(std::move(matrix));
  }
  absl::Status AddLayer(CheckpointWriter& writer, int layer, int64_t group, CodeType type,
                        const ActivationScheme& input) const {
    for (const WeightSpec& spec : ExpectedWeights(base_->config())) {
      if (spec.layer != layer || !IsLinearLayer(spec.kind)) continue;
      const std::string module = spec.name.substr(0, spec.name.size() - 7);
      BATON_RETURN_IF_ERROR(
          writer.AddWeight(module, Quantized(spec.kind, layer, group, type), input));
    }
    return writer.EndFile();
  }
  nlohmann::json Config() const {
    return nlohmann::json::parse(*ReadTextFile(Out() / "config.json", 1 << 20));
  }

  test::TemporaryFolder folder_;
  std::optional<Checkpoint> base_;
};

TEST_F(CheckpointWriterTest, WritesOneSchemeForTheClassLinear) {
  auto writer = Create({.recipe = "test"});
  ASSERT_TRUE(writer.ok()) << ToString(writer.status());
  for (int layer : {0, 1}) {
    ASSERT_TRUE(AddLayer(**writer, layer, 32, CodeType::kUint4, kFloatInput).ok());
  }
  ASSERT_TRUE((*writer)->Finish().ok());
  const nlohmann::json config = Config();
  EXPECT_EQ(config["hidden_size"], 64);
  EXPECT_EQ(config["baton"]["source_digest"], base_->ComputeDigest().ToString());
  const nlohmann::json& quantization = config["quantization_config"];
  EXPECT_EQ(quantization["format"], "pack-quantized");
  EXPECT_EQ(quantization["ignore"], nlohmann::json::array({"lm_head"}));
  const nlohmann::json& group = quantization["config_groups"]["group_0"];
  EXPECT_EQ(group["targets"], nlohmann::json::array({"Linear"}));
  EXPECT_EQ(group["weights"]["strategy"], "group");
  EXPECT_EQ(group["weights"]["group_size"], 32);
  EXPECT_EQ(group["weights"]["symmetric"], false);
  EXPECT_TRUE(group["input_activations"].is_null());
  // The one group of a narrow row is a group, not a channel.
  EXPECT_FALSE(quantization["config_groups"].contains("group_1"));
  EXPECT_TRUE(std::filesystem::exists(Out() / "tokenizer.json"));
  EXPECT_FALSE(std::filesystem::exists(Out() / "baton-progress.json"));
}

TEST_F(CheckpointWriterTest, EveryTensorOfTheIndexIsThere) {
  auto writer = Create();
  ASSERT_TRUE(AddLayer(**writer, 0, 0, CodeType::kInt8, kInt8Input).ok());
  ASSERT_TRUE(AddLayer(**writer, 1, 0, CodeType::kInt8, kInt8Input).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  const nlohmann::json index =
      nlohmann::json::parse(*ReadTextFile(Out() / "model.safetensors.index.json", 1 << 20));
  std::map<std::string, std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(Out())) {
    if (entry.path().extension() != ".safetensors") continue;
    const auto file = SafetensorsFile::Open(entry.path());
    for (const NamedTensor& tensor : file->tensors()) {
      files[tensor.name] = entry.path().filename().string();
    }
  }
  EXPECT_EQ(index["weight_map"].get<decltype(files)>(), files);
  EXPECT_EQ(files.at("model.layers.0.mlp.up_proj.weight"), "model-00001-of-00003.safetensors");
  EXPECT_TRUE(files.contains("model.layers.1.mlp.up_proj.weight_scale"));
  EXPECT_TRUE(files.contains("model.embed_tokens.weight"));
  EXPECT_EQ(Config()["quantization_config"]["format"], "int-quantized");
}

TEST_F(CheckpointWriterTest, SchemesThatDifferNameTheirLayers) {
  auto writer = Create({.kv_basis = "smoothed 1"});
  ASSERT_TRUE(AddLayer(**writer, 0, 0, CodeType::kInt8, kInt8Input).ok());
  ASSERT_TRUE((*writer)
                  ->AddWeight("model.layers.1.mlp.down_proj",
                              Quantized(WeightKind::kDown, 1, 32, CodeType::kInt4), kFloatInput)
                  .ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  const nlohmann::json quantization = Config()["quantization_config"];
  EXPECT_EQ(quantization["format"], "mixed-precision");
  const nlohmann::json& groups = quantization["config_groups"];
  EXPECT_EQ(groups["group_0"]["format"], "int-quantized");
  EXPECT_EQ(groups["group_0"]["targets"].size(), 7u);
  EXPECT_EQ(groups["group_1"]["format"], "pack-quantized");
  EXPECT_EQ(groups["group_1"]["targets"], nlohmann::json::array({"model.layers.1.mlp.down_proj"}));
  EXPECT_EQ(quantization["ignore"].size(), 7u);  // six of layer 1 and the output head
  EXPECT_EQ(Config()["baton"]["kv_basis"], "smoothed 1");
}

TEST_F(CheckpointWriterTest, AnInterruptedRunGoesOnWhereItsFilesEnd) {
  {
    auto writer = Create({.recipe = "r"});
    ASSERT_TRUE(AddLayer(**writer, 0, 32, CodeType::kInt4, kFloatInput).ok());
  }
  EXPECT_EQ(Create({.recipe = "r"}).status().code(), absl::StatusCode::kAlreadyExists);
  const auto other = Create({.recipe = "other", .resume = true}).status();
  EXPECT_EQ(other.code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(ToString(other), HasSubstr("the interrupted run had recipe \"r\""));
  auto writer = Create({.recipe = "r", .resume = true});
  ASSERT_TRUE(writer.ok()) << ToString(writer.status());
  EXPECT_TRUE((*writer)->Has("model.layers.0.mlp.up_proj.weight"));
  EXPECT_FALSE((*writer)->Has("model.layers.1.mlp.up_proj.weight"));
  EXPECT_TRUE(SafetensorsFile::Open((*writer)->FileOf("model.layers.0.mlp.up_proj.weight")).ok());
  ASSERT_TRUE(AddLayer(**writer, 1, 32, CodeType::kInt4, kFloatInput).ok());
  ASSERT_TRUE((*writer)->Finish().ok());
  EXPECT_THAT(Config()["quantization_config"]["ignore"], ElementsAre("lm_head"));
  EXPECT_EQ(Create({.recipe = "r", .resume = true}).status().code(),
            absl::StatusCode::kAlreadyExists);
}

TEST_F(CheckpointWriterTest, AFileThatChangedSinceIsWrittenAgain) {
  std::filesystem::path file;
  {
    auto writer = Create();
    ASSERT_TRUE(AddLayer(**writer, 0, 32, CodeType::kInt4, kFloatInput).ok());
    ASSERT_TRUE(AddLayer(**writer, 1, 32, CodeType::kInt4, kFloatInput).ok());
    file = (*writer)->FileOf("model.layers.0.mlp.up_proj.weight");
  }
  std::string bytes = *ReadTextFile(file, 1 << 20);
  bytes.back() ^= 1;
  test::WriteText(file, bytes);
  auto writer = Create({.resume = true});
  EXPECT_FALSE((*writer)->Has("model.layers.0.mlp.up_proj.weight"));
  EXPECT_TRUE((*writer)->Has("model.layers.1.mlp.up_proj.weight"));
  ASSERT_TRUE(AddLayer(**writer, 0, 32, CodeType::kInt4, kFloatInput).ok());
  EXPECT_TRUE((*writer)->Finish().ok());
}

TEST_F(CheckpointWriterTest, FilesEndAtTheirLargestSize) {
  auto writer = Create({.max_file_bytes = 1});
  ASSERT_TRUE((*writer)->Finish().ok());
  const nlohmann::json index =
      nlohmann::json::parse(*ReadTextFile(Out() / "model.safetensors.index.json", 1 << 20));
  EXPECT_EQ(index["weight_map"]["lm_head.weight"], "model-00003-of-00021.safetensors");
}

TEST_F(CheckpointWriterTest, RefusesWhatTheLayoutCannotSay) {
  auto writer = Create();
  const auto add = [&](auto change) {
    QuantizedTensor tensor = Quantized(WeightKind::kDown, 0, 32, CodeType::kUint4);
    change(tensor);
    const absl::Status status =
        (*Create({.resume = true}))->AddWeight("model.layers.0.mlp.down_proj", tensor, kFloatInput);
    return ToString(status);
  };
  EXPECT_THAT(add([](QuantizedTensor& t) {
                t.zeros.clear();
                t.float_zeros.assign(t.scales.size() / 2, 1.5f);
              }),
              HasSubstr("UNIMPLEMENTED: 'model.layers.0.mlp.down_proj': zero points that are no "
                        "integers"));
  EXPECT_THAT(add([](QuantizedTensor& t) { t.column_group.assign(160, 1); }),
              HasSubstr("act-order"));
  EXPECT_THAT(add([](QuantizedTensor& t) { t.zeros[3] = 16; }), HasSubstr("zero point 8"));
  EXPECT_THAT(add([](QuantizedTensor& t) { t.codes[3] = 16; }), HasSubstr("wider than 4 bits"));
  EXPECT_THAT(add([](QuantizedTensor& t) { t.k = 80; }), HasSubstr("expected [64, 160]"));
  EXPECT_EQ(add([](QuantizedTensor&) {}), "OK");
}

}  // namespace
}  // namespace baton
