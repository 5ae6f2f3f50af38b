#include "kernels/kv_page/kv_format.h"

#include "gtest/gtest.h"

namespace baton::kernels {
namespace {

TEST(KvFormatTest, PublicNamesRoundTrip) {
  for (const char* name : {"fp16", "bf16", "fp8_e4m3", "fp8_e5m2", "int8", "int4", "k8v4"}) {
    const auto formats = ParseKvFormats(name);
    ASSERT_TRUE(formats.has_value()) << name;
    EXPECT_EQ(KvFormatsName(*formats), name);
  }
  EXPECT_EQ(*ParseKvFormats("k8v4"), (KvFormats{KvFormat::kInt8, KvFormat::kInt4}));
}

TEST(KvFormatTest, OtherNamesAreRefused) {
  for (const char* name : {"", "fp32", "INT8", "int8 ", "int8+int4", "invalid"}) {
    EXPECT_FALSE(ParseKvFormats(name).has_value()) << name;
  }
  EXPECT_EQ(KvFormatsName({KvFormat::kFp16, KvFormat::kInt4}), "fp16+int4");
}

TEST(KvFormatTest, WireCodesAreFixed) {
  EXPECT_EQ(KvFormatFromCode(1), KvFormat::kFp16);
  EXPECT_EQ(KvFormatFromCode(2), KvFormat::kBf16);
  EXPECT_EQ(KvFormatFromCode(3), KvFormat::kFp8E4m3);
  EXPECT_EQ(KvFormatFromCode(4), KvFormat::kFp8E5m2);
  EXPECT_EQ(KvFormatFromCode(5), KvFormat::kInt8);
  EXPECT_EQ(KvFormatFromCode(6), KvFormat::kInt4);
  EXPECT_FALSE(KvFormatFromCode(0).has_value());
  EXPECT_FALSE(KvFormatFromCode(7).has_value());
  EXPECT_FALSE(KvFormatFromCode(255).has_value());
}

TEST(KvFormatTest, BytesPerGroup) {
  EXPECT_EQ(KvCodeBytes(KvFormat::kFp16, 48), 96u);
  EXPECT_EQ(KvCodeBytes(KvFormat::kFp8E5m2, 48), 48u);
  EXPECT_EQ(KvCodeBytes(KvFormat::kInt4, 48), 24u);
  EXPECT_EQ(KvScaleBytes(KvFormat::kBf16), 0u);
  EXPECT_EQ(KvScaleBytes(KvFormat::kFp8E5m2), 0u);
  EXPECT_EQ(KvScaleBytes(KvFormat::kFp8E4m3), 2u);
  EXPECT_EQ(KvScaleBytes(KvFormat::kInt8), 2u);
  EXPECT_EQ(KvScaleBytes(KvFormat::kInt4), 4u);
}

}  // namespace
}  // namespace baton::kernels
