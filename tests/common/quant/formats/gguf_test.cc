// GGUF against the public package's own numbers: equal bit for bit, blocks and a whole model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>

#include "common/base/status.h"
#include "common/model/gguf_model.h"
#include "common/model/model_files.h"
#include "common/quant/formats/gguf_blocks.h"
#include "common/quant/formats/stack_form.h"
#include "common/quant/formats/weight_source.h"
#include "common/tokenizer/tokenizer.h"

namespace baton {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

std::filesystem::path Fixture(const std::string& name) {
  return std::filesystem::path(BATON_MODEL_FIXTURES) / name;
}

// The number of values of `expected` that differ in a bit, after the sizes were compared.
int64_t Differences(const std::vector<float>& values, const TensorView& expected) {
  EXPECT_EQ(expected.type, DataType::kF32);
  EXPECT_EQ(expected.bytes.size(), values.size() * sizeof(float));
  if (expected.bytes.size() != values.size() * sizeof(float)) return -1;
  int64_t differences = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    differences += std::memcmp(&values[i], expected.bytes.data() + 4 * i, sizeof(float)) != 0;
  }
  return differences;
}

const TensorView& Named(const SafetensorsFile& file, const std::string& name) {
  for (const NamedTensor& tensor : file.tensors()) {
    if (tensor.name == name) return tensor.view;
  }
  throw std::out_of_range(name);
}

TEST(GgufBlocks, EveryTypeExpandsToTheSameBits) {
  const auto file = GgufFile::Open(Fixture("blocks.gguf"));
  ASSERT_TRUE(file.ok()) << ToString(file.status());
  const auto expected = SafetensorsFile::Open(Fixture("blocks.safetensors"));
  ASSERT_EQ(file->content.tensors.size(), 8u);
  for (const GgufTensor& tensor : file->content.tensors) {
    EXPECT_EQ(tensor.name, tensor.type->name);
    const ExpandBlocks expand = FindExpandBlocks(tensor.type->name);
    ASSERT_NE(expand, nullptr) << tensor.name;
    const int64_t count = tensor.shape[0] * tensor.shape[1];
    std::vector<float> values(static_cast<size_t>(count));
    expand(tensor.bytes.data(), count / tensor.type->values, values.data());
    EXPECT_EQ(Differences(values, Named(*expected, tensor.name)), 0) << tensor.name;
  }
  EXPECT_EQ(FindExpandBlocks("Q2_K"), nullptr);
}

// Every tensor of the whole model, whose query and key rows the file holds in another order.
TEST(GgufModel, HoldsTheWeightsOfTheFolder) {
  const auto checkpoint = Checkpoint::Open(Fixture("llama.gguf"), {.accept_quantized = true});
  ASSERT_TRUE(checkpoint.ok()) << ToString(checkpoint.status());
  EXPECT_TRUE(checkpoint->quantized());
  EXPECT_THAT(ToString(Checkpoint::Open(Fixture("llama.gguf")).status()),
              HasSubstr("expected an unquantized checkpoint"));
  const auto source = WeightSource::Open(*checkpoint);
  ASSERT_TRUE(source.ok()) << ToString(source.status());
  const auto expected = SafetensorsFile::Open(Fixture("llama.safetensors"));
  const std::vector<WeightSpec> specs = ExpectedWeights(checkpoint->config());
  EXPECT_EQ(specs.size(), expected->tensors().size());
  for (const WeightSpec& spec : specs) {
    std::vector<float> values;
    TensorView view;
    if (spec.shape.size() == 1) {
      view = checkpoint->Get(spec.kind, spec.layer);
    } else {
      auto weight = source->Read(spec.kind, spec.layer, RunSerially);
      ASSERT_TRUE(weight.ok()) << ToString(weight.status());
      if (weight->quantized) {
        EXPECT_THAT(Describe(*weight->quantized), HasSubstr("gguf Q"));
        EXPECT_GE(BitsPerWeight(*weight->quantized), 4.5);
        values = Dequantize(*std::move(weight->quantized), RunSerially);
      } else {
        view = *weight->dense;
      }
    }
    if (values.empty()) {
      values.resize(view.bytes.size() / static_cast<size_t>(SizeOf(view.type)));
      ToFloat(view, 0, static_cast<int64_t>(values.size()), values.data());
    }
    EXPECT_EQ(Differences(values, Named(*expected, spec.name)), 0) << spec.name;
  }
}

TEST(GgufModel, SaysItsConfiguration) {
  const auto config = LoadModelConfig(Fixture("llama.gguf"));
  ASSERT_TRUE(config.ok()) << ToString(config.status());
  EXPECT_EQ(config->architecture->name, "LlamaForCausalLM");
  EXPECT_EQ(config->hidden_size, 32);
  EXPECT_EQ(config->intermediate_size, 64);
  EXPECT_EQ(config->layers, 1);
  EXPECT_EQ(config->heads, 2);
  EXPECT_EQ(config->kv_heads, 1);
  EXPECT_EQ(config->head_dim, 16);
  EXPECT_EQ(config->max_positions, 128);
  EXPECT_EQ(config->vocab_size, 264);
  EXPECT_EQ(config->rope.theta, 50000);
  EXPECT_EQ(config->norm_epsilon, 1e-5f);
  EXPECT_TRUE(config->tied_embeddings);
  EXPECT_EQ(config->bos_token, 262);
  EXPECT_THAT(config->eos_tokens, ElementsAre(263));
}

TEST(GgufModel, HoldsItsTokenizer) {
  const auto json = ReadTokenizerJson(Fixture("llama.gguf"));
  ASSERT_TRUE(json.ok()) << ToString(json.status());
  const auto tokenizer = Tokenizer::Parse(*json);
  ASSERT_TRUE(tokenizer.ok()) << ToString(tokenizer.status());
  EXPECT_THAT(*(*tokenizer)->Encode("in the<user>", {.add_special_tokens = true}),
              ElementsAre(262, 259, 258, 261));
  const std::vector<int32_t> ids = {259, 258};
  EXPECT_EQ(*(*tokenizer)->Decode(ids, {}), "in the");
}

TEST(GgufModel, AFolderWithOneFileIsAModel) {
  const std::filesystem::path folder =
      std::filesystem::path(::testing::TempDir()) / "baton_gguf_folder";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directory(folder);
  EXPECT_FALSE(FindGguf(folder)->has_value());
  EXPECT_EQ(ReadTokenizerJson(folder).status().code(), absl::StatusCode::kNotFound);
  std::filesystem::copy_file(Fixture("llama.gguf"), folder / "a.gguf");
  EXPECT_EQ(**FindGguf(folder), folder / "a.gguf");
  EXPECT_EQ(LoadModelConfig(folder)->heads, 2);
  EXPECT_EQ(*TokenizerDigest(folder), *TokenizerDigest(folder / "a.gguf"));
  std::filesystem::copy_file(Fixture("llama.gguf"), folder / "b.gguf");
  EXPECT_THAT(ToString(LoadModelConfig(folder).status()), HasSubstr("2 GGUF files, expected one"));
}

TEST(GgufModel, RowsOfHeadsAreTraced) {
  std::vector<int64_t> rows;
  for (int64_t row = 0; row < 8; ++row) rows.push_back(InterleavedRow(row, 4));
  EXPECT_THAT(rows, ElementsAre(0, 2, 1, 3, 4, 6, 5, 7));
}

}  // namespace
}  // namespace baton
