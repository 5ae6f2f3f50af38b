// bitsandbytes and HQQ: what lies in the settings that stand beside each layer.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>

#include "common/base/status.h"
#include "tests/common/quant/formats/fixture_cases.h"

namespace baton {
namespace {

using ::testing::HasSubstr;

std::string Read(const std::string& format, const std::string& name, const nlohmann::json& patch,
                 const std::function<void(test::FixtureTensors&)>& change) {
  for (const test::FixtureCase& c : test::FixtureCases()) {
    if (c.format != format || c.name != name) continue;
    test::FixtureTensors tensors(format);
    change(tensors);
    nlohmann::json config = nlohmann::json::parse(c.config);
    config.merge_patch(patch);
    return ToString(test::ReadCase(c, tensors.map, config.dump()).status());
  }
  return "no such case";
}

std::string WithConfig(const std::string& format, const std::string& name,
                       const nlohmann::json& patch) {
  return Read(format, name, patch, [](test::FixtureTensors&) {});
}

// The error when the JSON beside the 4-bit layer is `text`.
std::string WithState(const std::string& text) {
  return Read("bitsandbytes", "nf4_nested", nlohmann::json::object(),
              [&](test::FixtureTensors& tensors) {
                const std::string name = "nf4_nested.weight.quant_state.bitsandbytes__nf4";
                std::vector<std::byte>& bytes = tensors.Own(name);
                bytes.resize(text.size());
                std::memcpy(bytes.data(), text.data(), text.size());
                tensors.map.at(name).bytes = bytes;
                tensors.map.at(name).shape = {static_cast<int64_t>(text.size())};
              });
}

TEST(HostileBitsAndBytes, StateIsChecked) {
  const nlohmann::json good = {{"quant_type", "nf4"},  {"blocksize", 64},
                               {"shape", {40, 34}},    {"dtype", "float16"},
                               {"nested_offset", 0.1}, {"nested_blocksize", 16}};
  EXPECT_EQ(WithState(good.dump()), "OK");
  const auto error = [&](const nlohmann::json& patch) {
    nlohmann::json state = good;
    state.merge_patch(patch);
    return WithState(state.dump());
  };
  EXPECT_THAT(WithState("{"), HasSubstr("bitsandbytes__nf4"));
  EXPECT_THAT(WithState("[]"), HasSubstr("bitsandbytes__nf4"));
  EXPECT_THAT(WithState(std::string(5000, ' ')), HasSubstr("5000 bytes, expected at most 4096"));
  EXPECT_THAT(error({{"quant_type", "fp4"}}), HasSubstr("quant_type"));
  EXPECT_THAT(error({{"blocksize", 0}}), HasSubstr("blocksize: 0"));
  EXPECT_THAT(error({{"blocksize", nullptr}}), HasSubstr("blocksize: missing"));
  EXPECT_THAT(error({{"blocksize", 32}}), HasSubstr("'nf4_nested.weight.absmax': shape [22]"));
  EXPECT_THAT(error({{"shape", {34, 40}}}), HasSubstr("shape: [34,40], expected [40, 34]"));
  EXPECT_THAT(error({{"shape", "all"}}), HasSubstr("shape: \"all\""));
  EXPECT_THAT(error({{"nested_blocksize", -1}}), HasSubstr("nested_blocksize: -1"));
  EXPECT_THAT(error({{"nested_blocksize", 8}}), HasSubstr("weight.nested_absmax': shape"));
  EXPECT_THAT(error({{"nested_offset", "x"}}), HasSubstr("nested_offset: \"x\""));
  EXPECT_THAT(error({{"nested_dtype", "float64"}}), HasSubstr("nested_dtype: 'float64'"));
}

TEST(HostileBitsAndBytes, Configuration) {
  EXPECT_THAT(WithConfig("bitsandbytes", "nf4", {{"load_in_8bit", true}}),
              HasSubstr("expected one of load_in_4bit and load_in_8bit"));
  EXPECT_THAT(WithConfig("bitsandbytes", "nf4", {{"bnb_4bit_quant_type", "int4"}}),
              HasSubstr("bnb_4bit_quant_type: 'int4'"));
  EXPECT_THAT(WithConfig("bitsandbytes", "int8", {{"llm_int8_threshold", -6}}),
              HasSubstr("llm_int8_threshold: -6"));
  EXPECT_THAT(Read("bitsandbytes", "int8", nlohmann::json::object(),
                   [](test::FixtureTensors& tensors) {
                     tensors.Own("int8.weight_format")[0] = std::byte{2};
                   }),
              HasSubstr("'int8.weight_format': 2, expected 0"));
}

TEST(HostileHqq, ConfigurationIsChecked) {
  const auto error = [](const nlohmann::json& patch) {
    return WithConfig("hqq", "int4_plain", {{"quant_config", {{"weight_quant_params", patch}}}});
  };
  EXPECT_THAT(error({{"nbits", 1}}), HasSubstr("nbits: 1, expected 8, 4, 3 or 2"));
  EXPECT_THAT(error({{"nbits", 8}}), HasSubstr("'int4_plain.W_q': shape"));
  EXPECT_THAT(error({{"axis", 2}}), HasSubstr("axis: 2"));
  EXPECT_THAT(error({{"group_size", 0}}), HasSubstr("group_size: 0"));
  EXPECT_THAT(error({{"group_size", 7}}), HasSubstr("expected whole groups of 7"));
  EXPECT_THAT(error({{"group_size", 512}}), HasSubstr("expected a multiple of 2"));
  EXPECT_THAT(error({{"channel_wise", false}}), HasSubstr("channel_wise: false"));
  EXPECT_THAT(error({{"view_as_float", true}}), HasSubstr("view_as_float: true"));
  EXPECT_THAT(WithConfig("hqq", "int4_plain", {{"quant_config", nullptr}}),
              HasSubstr("quant_config: missing"));
  EXPECT_THAT(
      WithConfig("hqq", "int4_plain", {{"quant_config", {{"scale_quant_params", {{"nbits", 8}}}}}}),
      HasSubstr("scale_quant_params"));
}

TEST(HostileHqq, SettingsOfALayerAreChecked) {
  const auto error = [](const std::string& suffix, std::byte first, std::byte last) {
    return Read("hqq", "int4_rows", nlohmann::json::object(), [&](test::FixtureTensors& tensors) {
      std::vector<std::byte>& bytes = tensors.Own("int4_rows." + suffix);
      bytes.front() = first;
      bytes.back() = last;
    });
  };
  constexpr std::byte kNone{0};
  EXPECT_THAT(error("nbits", std::byte{5}, kNone), HasSubstr("'int4_rows.nbits': 5"));
  EXPECT_THAT(error("nbits", std::byte{4}, std::byte{0x80}), HasSubstr("nbits': -2147483644"));
  EXPECT_THAT(error("group_size", kNone, kNone), HasSubstr("group_size': 0"));
  EXPECT_THAT(error("axis", std::byte{2}, kNone), HasSubstr("axis': 2, expected 0 to 1"));
  EXPECT_THAT(error("shape", std::byte{25}, kNone), HasSubstr("shape': [25, 64]"));
  EXPECT_THAT(error("packing", std::byte{'8'}, std::byte{'8'}), HasSubstr("expected 4bit_u8"));
  EXPECT_THAT(error("view_as_float", std::byte{1}, std::byte{1}), HasSubstr("view_as_float"));
  EXPECT_THAT(error("quant_scale", std::byte{1}, std::byte{1}), HasSubstr("quant_scale"));
}

}  // namespace
}  // namespace baton
