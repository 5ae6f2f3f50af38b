#include "common/quant/formats/weight_source.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "common/base/status.h"
#include "common/quant/checkpoint_writer.h"
#include "common/quant/formats/stack_form.h"
#include "tests/common/model/safetensors_builder.h"
#include "tests/common/quant/tiny_model.h"

namespace baton {
namespace {

using kernels::CodeType;
using ::testing::HasSubstr;

class WeightSourceTest : public ::testing::Test {
 protected:
  WeightSourceTest() {
    test::WriteTinyModel(Base(), 3);
    base_.emplace(*Checkpoint::Open(Base()));
  }
  std::filesystem::path Base() const { return folder_.path() / "base"; }
  std::filesystem::path Out() const { return folder_.path() / "out"; }

  QuantizedTensor Quantized(const WeightSpec& spec) const {
    QuantizedMatrix matrix =
        MakeQuantizedMatrix(spec.shape[0], spec.shape[1], 32, CodeType::kUint4);
    RoundToNearest(base_->Get(spec.kind, spec.layer), matrix, 0, 1);
    return ToTensor(std::move(matrix));
  }
  // Quantizes the linear layers but for the output head.
  void WriteQuantized(const std::string& kv_basis = "") {
    auto writer = CheckpointWriter::Create(*base_, Base(), Out(), {.kv_basis = kv_basis});
    ASSERT_TRUE(writer.ok()) << ToString(writer.status());
    for (const WeightSpec& spec : ExpectedWeights(base_->config())) {
      if (!IsLinearLayer(spec.kind) || spec.kind == WeightKind::kLmHead) continue;
      const std::string module = spec.name.substr(0, spec.name.size() - 7);
      ASSERT_TRUE((*writer)->AddWeight(module, Quantized(spec), {}).ok());
    }
    ASSERT_TRUE((*writer)->Finish().ok());
  }
  // Changes config.json of the quantized folder.
  void Patch(const nlohmann::json& patch) {
    nlohmann::json config = nlohmann::json::parse(*ReadTextFile(Out() / "config.json", 1 << 20));
    config.merge_patch(patch);
    test::WriteText(Out() / "config.json", config.dump());
  }

  test::TemporaryFolder folder_;
  std::optional<Checkpoint> base_;
};

TEST_F(WeightSourceTest, ReadsBackWhatTheWriterWrote) {
  WriteQuantized();
  const auto checkpoint = Checkpoint::Open(Out(), {.accept_quantized = true});
  ASSERT_TRUE(checkpoint.ok()) << ToString(checkpoint.status());
  const auto source = WeightSource::Open(*checkpoint);
  ASSERT_TRUE(source.ok()) << ToString(source.status());
  EXPECT_TRUE(source->Notes().empty());
  for (const WeightSpec& spec : ExpectedWeights(base_->config())) {
    if (!IsLinearLayer(spec.kind)) continue;
    const auto weight = source->Read(spec.kind, spec.layer, RunSerially);
    ASSERT_TRUE(weight.ok()) << ToString(weight.status());
    if (spec.kind == WeightKind::kLmHead) {
      EXPECT_EQ(weight->dense->shape, spec.shape);
      continue;
    }
    EXPECT_EQ(Dequantize(weight->quantized->tensor, RunSerially),
              Dequantize(Quantized(spec), RunSerially));
    EXPECT_EQ(BitsPerWeight(weight->quantized->tensor), 4 + (16.0 + 4) / 32);
  }
}

TEST_F(WeightSourceTest, TheSourceIsTheBaseModel) {
  WriteQuantized();
  const auto checkpoint = Checkpoint::Open(Out(), {.accept_quantized = true});
  const Digest own = checkpoint->ComputeDigest();
  const Digest base = base_->ComputeDigest();
  EXPECT_NE(own, base);
  EXPECT_EQ(checkpoint->SourceDigest(own), base);
  EXPECT_EQ(base_->SourceDigest(base), base);
  Patch({{"baton", nullptr}});
  const auto unknown = Checkpoint::Open(Out(), {.accept_quantized = true});
  EXPECT_EQ(unknown->SourceDigest(own), std::nullopt);
}

TEST_F(WeightSourceTest, AnotherBasisOfTheCacheIsAnotherModel) {
  WriteQuantized("smoothed");
  const auto checkpoint = Checkpoint::Open(Out(), {.accept_quantized = true});
  const auto source = checkpoint->SourceDigest(checkpoint->ComputeDigest());
  ASSERT_TRUE(source.has_value());
  EXPECT_NE(*source, base_->ComputeDigest());
}

TEST_F(WeightSourceTest, QuantizedFoldersAreRefusedWhereTheyAreNotExpected) {
  WriteQuantized();
  const auto status = Checkpoint::Open(Out()).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
  EXPECT_THAT(ToString(status), HasSubstr("expected an unquantized checkpoint here"));
}

TEST_F(WeightSourceTest, OlderConfigurationFilesCount) {
  test::WriteText(Base() / "quantize_config.json",
                  R"({"bits": 4, "group_size": 32, "desc_act": false, "sym": true})");
  const auto checkpoint = Checkpoint::Open(Base(), {.accept_quantized = true});
  ASSERT_TRUE(checkpoint.ok()) << ToString(checkpoint.status());
  EXPECT_TRUE(checkpoint->quantized());
  EXPECT_TRUE(WeightSource::Open(*checkpoint).ok());
}

TEST_F(WeightSourceTest, ABiasThatTheArchitectureLacksMustBeZero) {
  WriteQuantized();
  std::vector<uint16_t> bias(64);
  const auto read = [&] {
    const NamedTensor tensor{"model.layers.0.self_attn.o_proj.bias",
                             {DataType::kF16, {64}, std::as_bytes(std::span(bias))}};
    auto file = SafetensorsFile::Open(Out() / "model.safetensors");
    std::vector<NamedTensor> tensors = file->tensors();
    tensors.push_back(tensor);
    EXPECT_TRUE(WriteSafetensors(Out() / "other.safetensors", tensors, {}).ok());
    nlohmann::json index;
    for (const NamedTensor& t : tensors) index["weight_map"][t.name] = "other.safetensors";
    test::WriteText(Out() / "model.safetensors.index.json", index.dump());
    const auto checkpoint = Checkpoint::Open(Out(), {.accept_quantized = true});
    return ToString(WeightSource::Open(*checkpoint)->Read(WeightKind::kO, 0, RunSerially).status());
  };
  EXPECT_EQ(read(), "OK");
  bias[5] = 0x3C00;
  EXPECT_THAT(read(), HasSubstr("o_proj.bias': not zero, expected none"));
}

// A folder made by an independent program: shards, tied embeddings, schemes chosen by expressions.
TEST(WeightSourceFixture, ReadsAWholeFolder) {
  const std::filesystem::path folder = std::filesystem::path(BATON_FORMAT_FIXTURES) / "model";
  const auto checkpoint = Checkpoint::Open(folder, {.accept_quantized = true});
  ASSERT_TRUE(checkpoint.ok()) << ToString(checkpoint.status());
  const auto source = WeightSource::Open(*checkpoint);
  ASSERT_TRUE(source.ok()) << ToString(source.status());
  const auto expected = SafetensorsFile::Open(folder / "expected.safetensors");
  std::map<std::string, TensorView> wanted;
  for (const NamedTensor& tensor : expected->tensors()) wanted[tensor.name] = tensor.view;
  EXPECT_EQ(wanted.size(), 6u);
  for (const WeightSpec& spec : ExpectedWeights(checkpoint->config())) {
    if (!IsLinearLayer(spec.kind) && spec.kind != WeightKind::kEmbedding) continue;
    const auto weight = source->Read(spec.kind, spec.layer, RunSerially);
    ASSERT_TRUE(weight.ok()) << ToString(weight.status());
    const auto it = wanted.find(spec.name.substr(0, spec.name.size() - 7));
    ASSERT_EQ(weight->quantized.has_value(), it != wanted.end()) << spec.name;
    if (!weight->quantized) continue;
    const std::vector<float> values = Dequantize(weight->quantized->tensor, RunSerially);
    EXPECT_EQ(std::memcmp(values.data(), it->second.bytes.data(), it->second.bytes.size()), 0)
        << spec.name;
  }
}

// Query, key and value of one matrix, gate and up of another: each row keeps its own scale.
TEST(WeightSourceFixture, FusedLayersKeepTheirScales) {
  const std::filesystem::path folder = std::filesystem::path(BATON_FORMAT_FIXTURES) / "model";
  const auto checkpoint = Checkpoint::Open(folder, {.accept_quantized = true});
  const auto source = WeightSource::Open(*checkpoint);
  const auto expect = [&](const std::vector<WeightKind>& kinds, kernels::WeightScheme scheme) {
    std::vector<LoadedWeight> parts;
    std::vector<float> wanted;
    for (const WeightKind kind : kinds) {
      parts.push_back(*source->Read(kind, 0, RunSerially));
      const auto values = Dequantize(parts.back().quantized->tensor, RunSerially);
      wanted.insert(wanted.end(), values.begin(), values.end());
    }
    const StackForm form = NativeForm(std::move(parts), true, RunSerially);
    EXPECT_EQ(form.scheme, scheme);
    const kernels::PackedWeight packed = kernels::Pack(form.views, form.scheme);
    std::vector<float> row(static_cast<size_t>(packed.k()));
    for (int64_t n = 0; n < packed.n(); ++n) {
      kernels::DequantizeRow(packed, n, row.data());
      EXPECT_TRUE(std::equal(row.begin(), row.end(), wanted.begin() + n * packed.k())) << n;
    }
  };
  expect({WeightKind::kQ, WeightKind::kK, WeightKind::kV}, kernels::WeightScheme::kW4A16);
  expect({WeightKind::kGate, WeightKind::kUp}, kernels::WeightScheme::kW8A8);
}

TEST_F(WeightSourceTest, ALayerThatIsNeitherQuantizedNorDenseIsRefused) {
  WriteQuantized();
  Patch({{"quantization_config", {{"ignore", {"lm_head", "re:.*up_proj"}}}}});
  const auto checkpoint = Checkpoint::Open(Out(), {.accept_quantized = true});
  const auto source = WeightSource::Open(*checkpoint);
  EXPECT_TRUE(source->Read(WeightKind::kGate, 0, RunSerially).ok());
  EXPECT_THAT(ToString(source->Read(WeightKind::kUp, 0, RunSerially).status()),
              HasSubstr("'model.layers.0.mlp.up_proj.weight': missing, expected shape [160, 64]"));
}

}  // namespace
}  // namespace baton
