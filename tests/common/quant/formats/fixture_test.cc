// Every format against matrices that an independent program computed: equal bit for bit.
#include <gtest/gtest.h>

#include <bit>
#include <cstring>

#include "common/base/status.h"
#include "common/quant/formats/stack_form.h"
#include "tests/common/quant/formats/fixture_cases.h"

namespace baton {
namespace {

class FormatFixture : public ::testing::TestWithParam<test::FixtureCase> {};

void RunInThreeParts(const std::function<void(int part, int parts)>& work) {
  for (int part : {2, 0, 1}) work(part, 3);
}

TEST_P(FormatFixture, DequantizesToTheSameBits) {
  const test::FixtureCase& c = GetParam();
  const test::FixtureTensors tensors(c.format);
  for (const RunParts& run : {RunParts(RunSerially), RunParts(RunInThreeParts)}) {
    const auto weight = test::ReadCase(c, tensors.map, c.config, run);
    ASSERT_TRUE(weight.ok()) << ToString(weight.status());
    ASSERT_TRUE(weight->has_value());
    ASSERT_EQ((*weight)->n(), c.n);
    ASSERT_EQ((*weight)->k(), c.k);
    if (!(*weight)->expanded) {
      ASSERT_TRUE(CheckQuantizedTensor((*weight)->tensor, c.name).ok());
    }
    const std::vector<float> values = Dequantize(QuantizedWeight(**weight), run);
    const TensorView& expected = tensors.map.at(c.name + ".expected");
    ASSERT_EQ(expected.bytes.size(), values.size() * sizeof(float));
    for (size_t i = 0; i < values.size(); ++i) {
      float wanted;
      std::memcpy(&wanted, expected.bytes.data() + i * sizeof(wanted), sizeof(wanted));
      ASSERT_EQ(std::bit_cast<uint32_t>(values[i]), std::bit_cast<uint32_t>(wanted))
          << values[i] << " for " << wanted << " at " << i;
    }
  }
}

INSTANTIATE_TEST_SUITE_P(All, FormatFixture, ::testing::ValuesIn(test::FixtureCases()),
                         [](const auto& info) {
                           return info.param.format + "_" + info.param.name;
                         });

TEST(FormatFixtures, AreThere) { EXPECT_GE(test::FixtureCases().size(), 58u); }

std::string DescriptionOf(const std::string& format, const std::string& name) {
  for (const test::FixtureCase& c : test::FixtureCases()) {
    if (c.format != format || c.name != name) continue;
    return Describe(**test::ReadCase(c, test::FixtureTensors(format).map, c.config));
  }
  return "no such case";
}

TEST(FormatFixtures, AreDescribedInWords) {
  EXPECT_EQ(DescriptionOf("awq", "gemm"), "int4 asymmetric, groups of 16");
  EXPECT_EQ(DescriptionOf("gptq", "v1_act_order"), "int4 asymmetric, groups of 32, act-order");
  EXPECT_EQ(DescriptionOf("fp8", "static"), "fp8, one scale; inputs fp8 static");
  EXPECT_EQ(DescriptionOf("fp8", "block"), "fp8, blocks of 16 x 32; inputs fp8 per token");
  EXPECT_EQ(DescriptionOf("compressed_tensors", "int_channel"),
            "int8 symmetric, one scale per row; inputs int8 per token");
  EXPECT_EQ(DescriptionOf("bitsandbytes", "nf4"), "nf4, blocks of 64");
  EXPECT_EQ(DescriptionOf("bitsandbytes", "fp4_nested"), "fp4, blocks of 64, quantized magnitudes");
  EXPECT_EQ(DescriptionOf("bitsandbytes", "int8"), "int8 symmetric, one scale per row");
  EXPECT_EQ(DescriptionOf("hqq", "int3_columns"), "hqq int3, groups of 16 along axis 0");
}

// What a v1 file stores is one less, and a stored 15 means 16.
TEST(FormatFixtures, GptqZeroPointsReachSixteen) {
  for (const test::FixtureCase& c : test::FixtureCases()) {
    if (c.format != "gptq" || c.name != "v1") continue;
    const test::FixtureTensors tensors("gptq");
    const auto weight = test::ReadCase(c, tensors.map, c.config);
    EXPECT_EQ((*weight)->tensor.zeros.front(), 1);
    EXPECT_EQ((*weight)->tensor.zeros.back(), 16);
  }
}

}  // namespace
}  // namespace baton
