// Files that lie: every format refuses them by name, and reads nothing outside its tensors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "common/base/status.h"
#include "tests/common/quant/formats/fixture_cases.h"

namespace baton {
namespace {

using ::testing::HasSubstr;

class HostileTensors : public ::testing::TestWithParam<test::FixtureCase> {};

// Leaves out, retypes and reshapes each tensor in turn: an error, or (for what the format may lack)
// the same kind of result; never a crash.
TEST_P(HostileTensors, EachTensorIsChecked) {
  const test::FixtureCase& c = GetParam();
  const test::FixtureTensors original(c.format);
  for (const auto& [name, view] : original.map) {
    if (!name.starts_with(c.name + ".") || name.ends_with(".expected")) continue;
    const auto refused = [&](const TensorMap& map) {
      const auto weight = test::ReadCase(c, map, c.config);
      if (weight.ok()) return std::string();
      EXPECT_EQ(weight.status().code(), absl::StatusCode::kFailedPrecondition)
          << ToString(weight.status());
      return std::string(MessageOf(weight.status()));
    };
    TensorMap map = original.map;
    map.at(name).shape.push_back(7);
    EXPECT_THAT(refused(map), HasSubstr("'" + name + "'"));
    map = original.map;
    if (!view.shape.empty()) {
      map.at(name).shape.front() += 1;
      EXPECT_THAT(refused(map), HasSubstr("'" + name + "'"));
      map.at(name).shape.front() = 0;
      EXPECT_THAT(refused(map), HasSubstr("'" + name + "'"));
    }
    // A weight of another type may be a layer that is not quantized.
    map = original.map;
    map.at(name).type = DataType::kF64;
    if (name != c.name + ".weight") {
      EXPECT_THAT(refused(map), HasSubstr("'" + name + "'"));
    }
    map = original.map;
    map.erase(name);
    const std::string missing = refused(map);
    if (!missing.empty()) {
      EXPECT_THAT(missing, HasSubstr("missing"));
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, HostileTensors, ::testing::ValuesIn(test::FixtureCases()),
                         [](const auto& info) {
                           return info.param.format + "_" + info.param.name;
                         });

test::FixtureCase CaseNamed(const std::string& format, const std::string& name) {
  for (const test::FixtureCase& c : test::FixtureCases()) {
    if (c.format == format && c.name == name) return c;
  }
  ADD_FAILURE() << format << "/" << name;
  return {};
}

std::string ErrorWith(const std::string& format, const std::string& name,
                      const nlohmann::json& patch) {
  const test::FixtureCase c = CaseNamed(format, name);
  const test::FixtureTensors tensors(format);
  nlohmann::json config = nlohmann::json::parse(c.config);
  config.merge_patch(patch);
  return ToString(test::ReadCase(c, tensors.map, config.dump()).status());
}

TEST(HostileTensors, GroupNumbersAreChecked) {
  for (const auto& [format, name, suffix] :
       {std::tuple{"gptq", "v1_act_order", "g_idx"},
        std::tuple{"compressed_tensors", "pack_act_order", "weight_g_idx"}}) {
    const test::FixtureCase c = CaseNamed(format, name);
    for (const int32_t wrong : {-1, 4, INT32_MAX}) {
      test::FixtureTensors tensors(format);
      std::vector<std::byte>& bytes = tensors.Own(std::string(name) + "." + suffix);
      std::memcpy(bytes.data() + 8, &wrong, sizeof(wrong));
      EXPECT_THAT(ToString(test::ReadCase(c, tensors.map, c.config).status()),
                  HasSubstr(fmt::format("'{}.{}': group {} of column 2", name, suffix, wrong)));
    }
  }
}

TEST(HostileTensors, CodesBeyondTheirWidthAreRefused) {
  const test::FixtureCase c = CaseNamed("compressed_tensors", "int4_group_asym");
  test::FixtureTensors tensors(c.format);
  tensors.Own("int4_group_asym.weight")[5] = std::byte{8};
  EXPECT_THAT(ToString(test::ReadCase(c, tensors.map, c.config).status()),
              HasSubstr("'int4_group_asym.weight': code 8, expected 4 bits"));
}

TEST(HostileTensors, ThePackedShapeIsBelieved) {
  const test::FixtureCase c = CaseNamed("compressed_tensors", "pack_group_bf16");
  test::FixtureTensors tensors(c.format);
  tensors.Own("pack_group_bf16.weight_shape")[7] = std::byte{0x7F};
  EXPECT_THAT(ToString(test::ReadCase(c, tensors.map, c.config).status()),
              HasSubstr("'pack_group_bf16.weight_shape': ["));
}

TEST(HostileConfigs, AwqAndGptq) {
  EXPECT_THAT(ErrorWith("awq", "gemm", {{"bits", 3}}), HasSubstr("bits: 3, expected 4"));
  EXPECT_THAT(ErrorWith("awq", "gemm", {{"group_size", 0}}), HasSubstr("group_size: 0"));
  EXPECT_THAT(ErrorWith("awq", "gemm", {{"group_size", 48}}),
              HasSubstr("a multiple of group_size"));
  EXPECT_THAT(ErrorWith("awq", "gemm", {{"group_size", 1e30}}), HasSubstr("group_size: 1e+30"));
  EXPECT_THAT(ErrorWith("awq", "gemm", {{"version", "gemv_fast"}}),
              HasSubstr("version: 'gemv_fast'"));
  EXPECT_THAT(ErrorWith("awq", "gemm", {{"version", "gemv"}}), HasSubstr("'gemm.qweight': shape"));
  EXPECT_THAT(ErrorWith("gptq", "v1", {{"bits", 5}}), HasSubstr("bits: 5, expected 2, 3, 4 or 8"));
  EXPECT_THAT(ErrorWith("gptq", "v1", {{"bits", 8}}), HasSubstr("'v1.qweight': shape"));
  EXPECT_THAT(ErrorWith("gptq", "v1", {{"group_size", -2}}), HasSubstr("group_size: -2"));
  EXPECT_THAT(ErrorWith("gptq", "v1", {{"group_size", 1}}), HasSubstr("'v1.qzeros': shape"));
  EXPECT_THAT(ErrorWith("gptq", "v1", {{"checkpoint_format", "marlin"}}),
              HasSubstr("checkpoint_format: 'marlin', expected gptq or gptq_v2"));
  EXPECT_THAT(ErrorWith("gptq", "v1_sym", {{"is_marlin_format", true}}), HasSubstr("'marlin'"));
  EXPECT_THAT(ErrorWith("gptq", "v1", {{"pack_dtype", "int8"}}), HasSubstr("pack_dtype: 'int8'"));
  EXPECT_THAT(ErrorWith("gptq", "v1", {{"dynamic", {{"+:.*up.*", {{"bits", 8}}}}}}),
              HasSubstr("dynamic: '+:.*up.*'"));
  EXPECT_EQ(ErrorWith("gptq", "v1", {{"dynamic", {{"-:.*up.*", nlohmann::json::object()}}}}), "OK");
}

TEST(HostileConfigs, Fp8AndUnknown) {
  EXPECT_THAT(ErrorWith("fp8", "block", {{"weight_block_size", {0, 32}}}),
              HasSubstr("weight_block_size: [0,32], expected two sizes"));
  EXPECT_THAT(ErrorWith("fp8", "block", {{"weight_block_size", 128}}), HasSubstr("two sizes"));
  EXPECT_THAT(ErrorWith("fp8", "block", {{"weight_block_size", {16, 16}}}),
              HasSubstr("'block.weight_scale_inv': shape [2, 2], expected [2, 3]"));
  EXPECT_THAT(ErrorWith("fp8", "block", {{"activation_scheme", "static"}}), HasSubstr("'static'"));
  EXPECT_THAT(ErrorWith("fp8", "dynamic", {{"activation_scheme", "none"}}), HasSubstr("'none'"));
  EXPECT_THAT(ErrorWith("fp8", "dynamic", {{"activation_scheme", "static"}}),
              HasSubstr("'dynamic.input_scale': missing"));
  EXPECT_THAT(ErrorWith("fp8", "dynamic", {{"fmt", "e5m2"}}), HasSubstr("fmt: 'e5m2'"));
  EXPECT_THAT(ErrorWith("fp8", "fbgemm", {{"activation_scale_ub", -1}}),
              HasSubstr("activation_scale_ub: -1"));
  EXPECT_THAT(ErrorWith("fp8", "fbgemm", {{"quant_method", "aqlm"}}),
              HasSubstr("quant_method: 'aqlm', expected compressed-tensors"));
  EXPECT_THAT(ErrorWith("fp8", "fbgemm", {{"quant_method", 3}}), HasSubstr("quant_method: 3"));
}

TEST(Notes, SayWhatIsNotFollowed) {
  const auto notes = [](const nlohmann::json& patch) {
    nlohmann::json config =
        nlohmann::json::parse(CaseNamed("compressed_tensors", "int_channel").config);
    config.merge_patch(patch);
    return (*MakeFormatReader(JsonFields(config, "")))->Notes();
  };
  EXPECT_THAT(notes(nlohmann::json::object()), ::testing::IsEmpty());
  const nlohmann::json asymmetric = {{"input_activations", {{"symmetric", false}}}};
  EXPECT_THAT(notes({{"config_groups", {{"group_0", asymmetric}}}}),
              ::testing::ElementsAre(HasSubstr("asymmetric input_activations")));
  EXPECT_THAT(notes({{"kv_cache_scheme", {{"num_bits", 8}, {"type", "float"}}}}),
              ::testing::ElementsAre(HasSubstr("kv_cache_scheme fp8")));
}

TEST(HostileConfigs, CompressedTensors) {
  const auto error = [](const nlohmann::json& patch) {
    return ErrorWith("compressed_tensors", "pack_group_bf16", patch);
  };
  const auto weights = [](const nlohmann::json& patch) {
    return nlohmann::json{{"config_groups", {{"group_0", {{"weights", patch}}}}}};
  };
  EXPECT_THAT(error({{"format", "marlin-24"}}), HasSubstr("format: 'marlin-24'"));
  EXPECT_THAT(error({{"format", "float-quantized"}}),
              HasSubstr("pack_group_bf16.weight': missing"));
  EXPECT_THAT(error({{"transform_config", {{"config_groups", {{"R3", 1}}}}}}),
              HasSubstr("transform_config: {"));
  EXPECT_THAT(error({{"sparsity_config", {{"format", "sparse-24-bitmask"}}}}),
              HasSubstr("sparsity_config.format: 'sparse-24-bitmask', expected dense"));
  EXPECT_THAT(error({{"ignore", "lm_head"}}), HasSubstr("ignore: \"lm_head\", expected an array"));
  EXPECT_THAT(error({{"ignore", {1}}}), HasSubstr("ignore: 1, expected a string"));
  EXPECT_THAT(error({{"ignore", {"re:("}}}), HasSubstr("ignore: 're:('"));
  EXPECT_THAT(error({{"config_groups", {{"group_0", 1}}}}), HasSubstr("group_0: 1"));
  EXPECT_THAT(error(weights({{"num_bits", 16}})), HasSubstr("weights.num_bits: 16"));
  EXPECT_THAT(error(weights({{"num_bits", 8}})), HasSubstr("pack_group_bf16.weight_packed"));
  EXPECT_THAT(error(weights({{"strategy", "tensor_group"}})),
              HasSubstr("strategy: 'tensor_group'"));
  EXPECT_THAT(error(weights({{"strategy", "block"}})), HasSubstr("block_structure: missing"));
  EXPECT_THAT(error(weights({{"group_size", 0}})), HasSubstr("group_size: 0"));
  EXPECT_THAT(error(weights({{"group_size", 16}})), HasSubstr("pack_group_bf16.weight_scale"));
  EXPECT_THAT(error(weights({{"actorder", 7}})), HasSubstr("actorder: 7"));
  EXPECT_THAT(error(weights({{"type", "float"}})), HasSubstr("weights.num_bits: 4"));
  EXPECT_THAT(error(weights({{"symmetric", 1}})),
              HasSubstr("symmetric: 1, expected true or false"));
  EXPECT_THAT(error(weights({{"symmetric", false}})), HasSubstr("weight_zero_point': missing"));
}

}  // namespace
}  // namespace baton
