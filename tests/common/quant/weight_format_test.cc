#include "common/quant/weight_format.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/status.h"

namespace baton {
namespace {

using kernels::CodeType;
using kernels::WeightScheme;
using ::testing::HasSubstr;

TEST(WeightFormat, NamesParseBack) {
  for (const char* name : {"fp32", "fp16", "w8a8", "w8a8-fp8", "w4a16", "w4a8", "auto"}) {
    const auto format = ParseWeightFormat(name);
    ASSERT_TRUE(format.ok()) << name;
    EXPECT_EQ(NameOf(*format), name);
  }
}

TEST(WeightFormat, RefusesByName) {
  for (const char* name : {"", "FP32", "w4", "int8"}) {
    const auto unknown = ParseWeightFormat(name);
    EXPECT_EQ(unknown.status().code(), absl::StatusCode::kInvalidArgument) << name;
    EXPECT_THAT(ToString(unknown.status()), HasSubstr("expected fp32, fp16, w8a8"));
  }
}

TEST(MatrixPlan, AutoFollowsTheCheckpoint) {
  EXPECT_EQ(PlanLinear(WeightFormat::kAuto, DataType::kBf16).scheme, WeightScheme::kBf16);
  EXPECT_EQ(PlanLinear(WeightFormat::kAuto, DataType::kF16).scheme, WeightScheme::kFp16);
  EXPECT_EQ(PlanLinear(WeightFormat::kAuto, DataType::kF32).scheme, WeightScheme::kFp32);
}

TEST(MatrixPlan, QuantizedFormatsQuantizeLinearLayersOnly) {
  EXPECT_EQ(PlanLinear(WeightFormat::kW8A8, DataType::kBf16).codes, CodeType::kInt8);
  EXPECT_EQ(PlanLinear(WeightFormat::kW4A16, DataType::kBf16).codes, CodeType::kUint4);
  EXPECT_EQ(PlanLinear(WeightFormat::kW4A8, DataType::kBf16).group, 128);
  EXPECT_EQ(PlanLinear(WeightFormat::kW8A8Fp8, DataType::kBf16).codes, CodeType::kE4m3);
  EXPECT_EQ(PlanEmbedding(WeightFormat::kW4A16, DataType::kBf16).scheme, WeightScheme::kBf16);
  EXPECT_EQ(PlanEmbedding(WeightFormat::kW8A8, DataType::kF16).scheme, WeightScheme::kFp16);
  EXPECT_EQ(PlanEmbedding(WeightFormat::kW8A8, DataType::kF32).scheme, WeightScheme::kFp16);
  EXPECT_EQ(PlanEmbedding(WeightFormat::kFp32, DataType::kBf16).scheme, WeightScheme::kFp32);
  EXPECT_EQ(PlanEmbedding(WeightFormat::kAuto, DataType::kF32).scheme, WeightScheme::kFp32);
}

TEST(GroupFor, FallsBackToADivisor) {
  EXPECT_EQ(GroupFor(512, 128), 128);
  EXPECT_EQ(GroupFor(192, 128), 64);
  EXPECT_EQ(GroupFor(160, 128), 32);
  EXPECT_EQ(GroupFor(512, 64), 64);
  EXPECT_EQ(GroupFor(48, 128), 48);
}

TEST(WeightsDigest, FollowsCheckpointAndFormat) {
  const Digest a{1, 2};
  const Digest b{1, 3};
  EXPECT_EQ(WeightsDigest(a, WeightFormat::kW8A8), WeightsDigest(a, WeightFormat::kW8A8));
  EXPECT_NE(WeightsDigest(a, WeightFormat::kW8A8), WeightsDigest(a, WeightFormat::kW4A8));
  EXPECT_NE(WeightsDigest(a, WeightFormat::kW8A8), WeightsDigest(b, WeightFormat::kW8A8));
}

}  // namespace
}  // namespace baton
