#include "kernels/kv_page/layout.h"

#include <vector>

#include "gtest/gtest.h"
#include "tests/kernels/kv_page/test_cache.h"

namespace baton::kernels {
namespace {

TEST(KvPageLayoutTest, GroupsAreDisjointAndInOrder) {
  for (const KvFormats formats : kAllFormatPairs) {
    const KvGeometry geometry{3, 2, 48};
    const KvPageLayout layout(geometry, formats, 32);
    size_t codes = 0;
    for (int layer = 0; layer < geometry.layers; ++layer) {
      for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
        for (int head = 0; head < geometry.kv_heads; ++head) {
          for (int token = 0; token < 32; ++token) {
            ASSERT_EQ(layout.CodeOffset(layer, tensor, head, token), codes);
            codes += KvCodeBytes(layout.format(tensor), 48);
          }
        }
      }
    }
    size_t scales = codes;  // the scale plane follows the codes
    for (int layer = 0; layer < geometry.layers; ++layer) {
      for (const KvTensor tensor : {KvTensor::kKey, KvTensor::kValue}) {
        for (int head = 0; head < geometry.kv_heads; ++head) {
          for (int token = 0; token < 32; ++token) {
            ASSERT_EQ(layout.ScaleOffset(layer, tensor, head, token), scales);
            scales += KvScaleBytes(layout.format(tensor));
          }
        }
      }
    }
    EXPECT_GE(layout.page_bytes(), scales);
    EXPECT_LT(layout.page_bytes(), scales + 64);
    EXPECT_EQ(layout.page_bytes() % 64, 0u);
  }
}

TEST(KvPageLayoutTest, ValidateNamesTheField) {
  const KvGeometry good{2, 2, 64};
  EXPECT_FALSE(KvPageLayout::Validate(good, 16).has_value());
  EXPECT_FALSE(KvPageLayout::Validate(good, 128).has_value());
  for (const int page_tokens : {-16, 0, 1, 8, 24, 48, 256}) {
    const auto error = KvPageLayout::Validate(good, page_tokens);
    ASSERT_TRUE(error.has_value()) << page_tokens;
    EXPECT_NE(error->find("page_tokens"), std::string::npos);
  }
  for (const int head_dim : {-16, 0, 8, 40, 272}) {
    EXPECT_TRUE(KvPageLayout::Validate({2, 2, head_dim}, 16).has_value()) << head_dim;
  }
  EXPECT_TRUE(KvPageLayout::Validate({0, 2, 64}, 16).has_value());
  EXPECT_TRUE(KvPageLayout::Validate({2, 0, 64}, 16).has_value());
  EXPECT_TRUE(KvPageLayout::Validate({1 << 30, 1 << 30, 64}, 16).has_value());
}

TEST(KvPageLayoutTest, ByteCounts) {
  const KvPageLayout layout({8, 2, 128}, {KvFormat::kInt8, KvFormat::kInt8}, 16);
  EXPECT_EQ(layout.page_bytes(), 8u * 2 * 2 * 16 * (128 + 2));
  EXPECT_EQ(KvResidentBytes(layout, 0), 0u);
  EXPECT_EQ(KvResidentBytes(layout, 16), layout.page_bytes());
  EXPECT_EQ(KvResidentBytes(layout, 17), 2 * layout.page_bytes());
  EXPECT_EQ(KvRawBytes({8, 2, 128}, 100), 100u * 8 * 2 * 128 * 2 * 2);
}

}  // namespace
}  // namespace baton::kernels
