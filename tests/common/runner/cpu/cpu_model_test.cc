#include "common/runner/cpu/cpu_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <random>

#include "common/base/status.h"
#include "kernels/numeric/formats.h"
#include "tests/common/model/safetensors_builder.h"
#include "tests/common/runner/cpu/golden.h"

namespace baton {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kConfig = R"({
    "architectures": ["LlamaForCausalLM"], "hidden_size": 64, "intermediate_size": 160,
    "max_position_embeddings": 64, "num_attention_heads": 4, "num_key_value_heads": 2,
    "num_hidden_layers": 2, "rms_norm_eps": 1e-05, "vocab_size": 48, "attention_bias": true,
    "tie_word_embeddings": false})";

// The same values whatever the type: small multiples of 1/16, exact in fp16 and bf16.
std::string Image(const std::function<std::string(const std::string& name)>& type_of,
                  size_t padding) {
  nlohmann::json header;
  std::string data;
  std::mt19937 rng(3);
  for (const WeightSpec& spec : ExpectedWeights(*ParseModelConfig(kConfig, std::nullopt))) {
    int64_t count = 1;
    for (const int64_t size : spec.shape) count *= size;
    const std::string type = type_of(spec.name);
    const size_t begin = data.size();
    for (int64_t i = 0; i < count; ++i) {
      const float value = static_cast<float>(static_cast<int>(rng() % 33) - 16) / 16.0f;
      if (type == "F32") {
        data.append(reinterpret_cast<const char*>(&value), sizeof(value));
      } else {
        const uint16_t code =
            type == "F16" ? kernels::Fp16FromFloat(value) : kernels::Bf16FromFloat(value);
        data.append(reinterpret_cast<const char*>(&code), sizeof(code));
      }
    }
    header[spec.name] = {
        {"dtype", type}, {"shape", spec.shape}, {"data_offsets", {begin, data.size()}}};
  }
  return test::SafetensorsImage(header.dump() + std::string(padding, ' '), 0) + data;
}

class CpuModelTest : public ::testing::Test {
 protected:
  CpuModelTest() { test::WriteFile(folder_.path() / "config.json", kConfig); }

  std::shared_ptr<const CpuModel> Load(const std::string& image, LoadOptions options) {
    test::WriteFile(folder_.path() / "model.safetensors", image);
    const auto checkpoint = Checkpoint::Open(folder_.path());
    EXPECT_TRUE(checkpoint.ok()) << ToString(checkpoint.status());
    ThreadPool pool(2);
    auto model = LoadCpuModel(*checkpoint, options, pool);
    EXPECT_TRUE(model.ok()) << ToString(model.status());
    return *model;
  }

  // Log-probabilities of some tokens: equal only if every weight is.
  static std::vector<float> Scores(const std::shared_ptr<const CpuModel>& model) {
    const auto runner = test::MakeRunner(model, {}, 16, 2);
    const std::vector<int32_t> tokens = {3, 1, 4, 1, 5, 9, 2, 6, 47, 0};
    return *runner->Score(tokens, std::vector<int32_t>{1, 0});
  }

  test::TemporaryFolder folder_;
};

TEST_F(CpuModelTest, TheTypeInTheFileDoesNotMatterToTheReference) {
  const auto all = [](const char* type) {
    return [type](const std::string&) { return std::string(type); };
  };
  const LoadOptions reference{.format = WeightFormat::kFp32};
  const std::vector<float> expected = Scores(Load(Image(all("F32"), 0), reference));
  EXPECT_EQ(Scores(Load(Image(all("F16"), 0), reference)), expected);
  EXPECT_EQ(Scores(Load(Image(all("BF16"), 0), reference)), expected);
}

TEST_F(CpuModelTest, DataMayStartAtAnyAddress) {
  const auto type = [](const std::string&) { return std::string("BF16"); };
  const LoadOptions reference{.format = WeightFormat::kFp32};
  const std::vector<float> expected = Scores(Load(Image(type, 0), reference));
  for (size_t padding = 1; padding < 4; ++padding) {
    EXPECT_EQ(Scores(Load(Image(type, padding), reference)), expected) << padding;
  }
}

TEST_F(CpuModelTest, StackedPartsMayDifferInType) {
  const auto all = [](const std::string&) { return std::string("F32"); };
  const auto mixed = [](const std::string& name) {
    return std::string(name.find("k_proj") != std::string::npos ? "F16" : "F32");
  };
  const LoadOptions reference{.format = WeightFormat::kFp32};
  EXPECT_EQ(Scores(Load(Image(mixed, 0), reference)), Scores(Load(Image(all, 0), reference)));
}

TEST_F(CpuModelTest, ReportsProgressAndGroupFallback) {
  std::vector<int> done;
  std::vector<std::string> notes;
  LoadOptions options{.format = WeightFormat::kW4A16};
  options.progress = [&](int layers, int total) {
    EXPECT_EQ(total, 2);
    done.push_back(layers);
  };
  options.note = [&](std::string_view note) { notes.emplace_back(note); };
  const auto model = Load(Image([](const std::string&) { return std::string("F16"); }, 0), options);
  EXPECT_THAT(done, ElementsAre(1, 2));
  EXPECT_THAT(notes, ElementsAre(HasSubstr("64 columns are quantized in groups of 64, not 128"),
                                 HasSubstr("160 columns are quantized in groups of 32, not 128")));
  EXPECT_EQ(model->layers[0].down.weight.group(), 32);
  EXPECT_TRUE(model->layers[0].down.weight.has_zeros());
}

TEST_F(CpuModelTest, WeightsAreHeldOnceInTheirFormat) {
  const std::string image = Image([](const std::string&) { return std::string("F16"); }, 0);
  const auto bytes_of = [&](WeightFormat format) {
    const auto model = Load(image, {.format = format});
    size_t bytes = 0;
    for (const DecoderLayer& layer : model->layers) {
      bytes += layer.qkv.weight.bytes() + layer.o.weight.bytes() + layer.gate_up.weight.bytes() +
               layer.down.weight.bytes();
    }
    return bytes;
  };
  const size_t values = 2 * (64 * (64 + 32 + 32) + 64 * 64 + 3 * 64 * 160);
  EXPECT_EQ(bytes_of(WeightFormat::kFp32), values * 4);
  EXPECT_EQ(bytes_of(WeightFormat::kFp16), values * 2);
  EXPECT_LT(bytes_of(WeightFormat::kW8A8), values * 5 / 4);
  EXPECT_LT(bytes_of(WeightFormat::kW4A16), values * 7 / 10);
}

TEST(CpuModel, TiedEmbeddingsAreHeldOnce) {
  const auto model = test::LoadModel(BATON_TINY_MODEL, WeightFormat::kAuto);
  EXPECT_EQ(model->lm_head.weight.bytes(), 0u);
  EXPECT_EQ(&model->output_head(), &model->embedding);
  EXPECT_EQ(model->embedding.weight.bytes(), 4096u * 256 * 2);
}

}  // namespace
}  // namespace baton
