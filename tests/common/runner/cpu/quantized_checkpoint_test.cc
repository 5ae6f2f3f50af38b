// Quantized checkpoints through the whole model.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>

#include "common/base/status.h"
#include "common/model/mapped_file.h"
#include "common/quant/checkpoint_writer.h"
#include "common/quant/compressed_weight.h"
#include "common/quant/formats/stack_form.h"
#include "tests/common/model/safetensors_builder.h"
#include "tests/common/quant/tiny_model.h"
#include "tests/common/runner/cpu/golden.h"

namespace baton {
namespace {

using kernels::CodeType;
using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr uint32_t kSeed = 17;
constexpr ActivationScheme kInt8Input{.type = ActivationType::kInt8};

class StoredCheckpoint : public ::testing::Test {
 protected:
  StoredCheckpoint() {
    test::WriteTinyModel(Folder("base"), kSeed);
    base_.emplace(*Checkpoint::Open(Folder("base")));
  }
  std::filesystem::path Folder(const std::string& name) const { return folder_.path() / name; }

  // A linear layer rounded to nearest as the loader would. `group` 0: one scale per row.
  QuantizedTensor Rounded(const WeightSpec& spec, CodeType type, int group) const {
    const int64_t k = spec.shape[1];
    QuantizedMatrix matrix =
        MakeQuantizedMatrix(spec.shape[0], k, group == 0 ? k : GroupFor(k, group), type);
    RoundToNearest(base_->Get(spec.kind, spec.layer), matrix, 0, 1);
    return ToTensor(std::move(matrix));
  }

  using Quantizer = std::function<QuantizedTensor(const WeightSpec&)>;
  bool IsStoredQuantized(WeightKind kind) const {
    if (kind == WeightKind::kEmbedding) return quantized_embedding_;
    return IsLinearLayer(kind) && kind != WeightKind::kLmHead;
  }
  void ForQuantized(const std::function<void(const WeightSpec&, const std::string&)>& fn) const {
    for (const WeightSpec& spec : ExpectedWeights(base_->config())) {
      if (!IsStoredQuantized(spec.kind)) continue;
      fn(spec, spec.name.substr(0, spec.name.size() - 7));
    }
  }

  std::filesystem::path WriteQuantized(const ActivationScheme& inputs, const Quantizer& quantize) {
    auto writer = *CheckpointWriter::Create(*base_, Folder("base"), Folder("quantized"), {});
    ForQuantized([&](const WeightSpec& spec, const std::string& module) {
      const absl::Status status = writer->AddWeight(module, quantize(spec), inputs);
      ASSERT_TRUE(status.ok()) << ToString(status);
    });
    EXPECT_TRUE(writer->Finish().ok());
    return Folder("quantized");
  }

  // The same values as an unquantized model in fp32.
  std::filesystem::path WriteDense(const Quantizer& quantize) {
    const auto folder = Folder("dense");
    std::filesystem::create_directories(folder);
    test::WriteText(folder / "config.json", test::kTinyConfig);
    std::vector<std::vector<float>> values;
    std::vector<NamedTensor> tensors;
    for (const WeightSpec& spec : ExpectedWeights(base_->config())) {
      TensorView view = base_->Get(spec.kind, spec.layer);
      if (IsStoredQuantized(spec.kind)) {
        values.push_back(Dequantize(quantize(spec), RunSerially));
        view = {DataType::kF32, spec.shape, std::as_bytes(std::span(values.back()))};
      }
      tensors.push_back({spec.name, view});
    }
    EXPECT_TRUE(WriteSafetensors(folder / "model.safetensors", tensors, {}).ok());
    return folder;
  }

  std::vector<float> Scores(const std::filesystem::path& folder, WeightFormat format) {
    notes_.clear();
    const auto checkpoint = Checkpoint::Open(folder, {.accept_quantized = true});
    EXPECT_TRUE(checkpoint.ok()) << ToString(checkpoint.status());
    ThreadPool pool(2);
    const auto model = LoadCpuModel(
        *checkpoint,
        {.format = format, .note = [this](std::string_view note) { notes_.emplace_back(note); }},
        pool);
    EXPECT_TRUE(model.ok()) << ToString(model.status());
    const auto runner = test::MakeRunner(*model, {}, 16, 2);
    const std::vector<int32_t> tokens = {3, 1, 4, 1, 5, 9, 2, 6, 39, 0};
    return *runner->Score(tokens, std::vector<int32_t>{1, 0});
  }

  test::TemporaryFolder folder_;
  std::optional<Checkpoint> base_;
  bool quantized_embedding_ = false;  // of what is written
  std::vector<std::string> notes_;
};

struct Served {
  WeightFormat format;
  CodeType codes;
  int group;
  ActivationScheme inputs;
};
class ServedAsStored : public StoredCheckpoint, public ::testing::WithParamInterface<Served> {};

// A folder that holds what the loader would round to gives the loader's bits.
TEST_P(ServedAsStored, GivesTheBitsOfQuantizingAtLoad) {
  const Served& served = GetParam();
  const auto folder = WriteQuantized(served.inputs, [&](const WeightSpec& spec) {
    return Rounded(spec, served.codes, served.group);
  });
  const std::vector<float> stored = Scores(folder, WeightFormat::kAuto);
  EXPECT_THAT(notes_, IsEmpty());
  EXPECT_EQ(stored, Scores(Folder("base"), served.format));
}

INSTANTIATE_TEST_SUITE_P(
    Schemes, ServedAsStored,
    ::testing::Values(Served{WeightFormat::kW8A8, CodeType::kInt8, 0, kInt8Input},
                      Served{WeightFormat::kW4A16, CodeType::kUint4, 128, {}},
                      Served{WeightFormat::kW4A8, CodeType::kUint4, 128, kInt8Input}),
    [](const auto& info) { return std::string(NameOf(info.param.format)); });

TEST_F(StoredCheckpoint, OtherFormatsComeFromTheExactValues) {
  const Quantizer quantize = [&](const WeightSpec& spec) {
    return Rounded(spec, CodeType::kInt4, 32);
  };
  const auto folder = WriteQuantized({}, quantize);
  const auto dense = WriteDense(quantize);
  for (const WeightFormat format : {WeightFormat::kFp32, WeightFormat::kFp16, WeightFormat::kW8A8,
                                    WeightFormat::kW4A16, WeightFormat::kW4A8}) {
    EXPECT_EQ(Scores(folder, format), Scores(dense, format)) << NameOf(format);
  }
}

TEST_F(StoredCheckpoint, WithoutAKernelItIsFp16AndSaysSo) {
  const auto folder = WriteQuantized({}, [&](const WeightSpec& spec) {
    return Rounded(spec, CodeType::kInt8, 0);  // INT8 weights, floating inputs
  });
  const std::vector<float> automatic = Scores(folder, WeightFormat::kAuto);
  EXPECT_THAT(notes_, Contains(HasSubstr("no kernel for 'int8 symmetric, one scale per row'")));
  EXPECT_EQ(automatic, Scores(folder, WeightFormat::kFp16));
}

// Groups of scattered columns: the inputs are gathered, layer by layer in its own order.
class ActOrder : public StoredCheckpoint {
 protected:
  QuantizedTensor Shuffled(const WeightSpec& spec, CodeType type) const {
    QuantizedTensor tensor = Rounded(spec, type, 32);
    for (int64_t i = 0; i < tensor.k; ++i) {
      tensor.column_group.push_back(static_cast<int32_t>(i / tensor.block_columns));
    }
    // Query, key and value share their order, as gate and up do: they have the same inputs.
    const bool attention = spec.name.find("self_attn") != std::string::npos;
    std::mt19937 random(static_cast<uint32_t>(2 * spec.layer + attention) + 100 * tensor.k);
    std::shuffle(tensor.column_group.begin(), tensor.column_group.end(), random);
    return tensor;
  }

  // The writer has no form for it; readers of older files do.
  std::filesystem::path WriteActOrder(CodeType type, const ActivationScheme& inputs) {
    const auto folder = Folder("quantized");
    std::filesystem::create_directories(folder);
    std::vector<CompressedWeight::Part> parts;
    std::vector<std::string> names;
    std::vector<ModuleScheme> modules;
    ForQuantized([&](const WeightSpec& spec, const std::string& module) {
      QuantizedTensor tensor = Shuffled(spec, type);
      const auto order = std::as_bytes(std::span(tensor.column_group));
      parts.push_back({"weight_g_idx", DataType::kI32, {tensor.k}, {order.begin(), order.end()}});
      names.push_back(module + ".weight_g_idx");
      tensor.column_group.clear();
      CompressedWeight compressed = *CompressWeight(tensor, inputs, module);
      nlohmann::json scheme = nlohmann::json::parse(compressed.scheme);
      scheme["weights"]["actorder"] = "group";
      modules.push_back({module, compressed.format, scheme.dump()});
      for (auto& part : compressed.parts) {
        names.push_back(module + "." + part.suffix);
        parts.push_back(std::move(part));
      }
    });
    std::vector<NamedTensor> tensors;
    for (size_t i = 0; i < parts.size(); ++i) {
      tensors.push_back({names[i], {parts[i].type, parts[i].shape, parts[i].bytes}});
    }
    for (const WeightSpec& spec : ExpectedWeights(base_->config())) {
      if (!IsStoredQuantized(spec.kind)) {
        tensors.push_back({spec.name, base_->Get(spec.kind, spec.layer)});
      }
    }
    EXPECT_TRUE(WriteSafetensors(folder / "model.safetensors", tensors, {}).ok());
    nlohmann::json config = nlohmann::json::parse(test::kTinyConfig);
    config["quantization_config"] =
        nlohmann::json::parse(QuantizationConfigJson(modules, {"lm_head"}));
    if (quantized_embedding_) {
      config["quantization_config"]["config_groups"]["group_0"]["targets"].push_back("Embedding");
    }
    test::WriteText(folder / "config.json", config.dump());
    return folder;
  }

  // INT4 weights of shuffled columns: served as stored within `tolerance` of their values in fp32,
  // and in fp32 exactly so.
  void ExpectServedAsItsValues(float tolerance) {
    const auto folder = WriteActOrder(CodeType::kUint4, {});
    const auto dense =
        WriteDense([&](const WeightSpec& spec) { return Shuffled(spec, CodeType::kUint4); });
    const std::vector<float> reference = Scores(dense, WeightFormat::kFp32);
    EXPECT_EQ(Scores(folder, WeightFormat::kFp32), reference);
    const std::vector<float> served = Scores(folder, WeightFormat::kAuto);
    ASSERT_EQ(served.size(), reference.size());
    for (size_t i = 0; i < served.size(); ++i) EXPECT_NEAR(served[i], reference[i], tolerance);
  }
};

TEST_F(ActOrder, GathersTheInputs) {
  // The same products in fp32, summed in another order.
  ExpectServedAsItsValues(1e-4);
  EXPECT_THAT(notes_, IsEmpty());
}

// Its rows are looked up, so there are no inputs to gather: the columns go back to their places.
TEST_F(ActOrder, TheEmbeddingIsPutInOrder) {
  quantized_embedding_ = true;
  ExpectServedAsItsValues(5e-3);  // rounded to fp16
}

TEST_F(ActOrder, GathersBeforeInputsAreQuantized) {
  const auto folder = WriteActOrder(CodeType::kUint4, kInt8Input);
  const std::vector<float> served = Scores(folder, WeightFormat::kAuto);
  EXPECT_THAT(notes_, IsEmpty());
  const std::vector<float> reference = Scores(folder, WeightFormat::kFp32);
  // INT8 inputs: 1/254 of the largest value of a row at each product.
  for (size_t i = 0; i < served.size(); ++i) EXPECT_NEAR(served[i], reference[i], 0.05);
  EXPECT_NE(served, reference);
}

}  // namespace
}  // namespace baton
