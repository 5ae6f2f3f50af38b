#include "kernels/gemm/lt_key.h"

#include "gtest/gtest.h"

namespace baton::kernels::cuda {
namespace {

TEST(LtRowBucketTest, CoversAndStaysNear) {
  int previous = 0;
  for (int m = 1; m <= 20000; ++m) {
    const int bucket = LtRowBucket(m);
    ASSERT_GE(bucket, m);
    ASSERT_LE(bucket - m, m / 8) << m;
    ASSERT_EQ(LtRowBucket(bucket), bucket) << m;  // a bucket stands for itself
    ASSERT_GE(bucket, previous);
    previous = bucket;
  }
  EXPECT_EQ(LtRowBucket(129), 144);
  EXPECT_EQ(LtRowBucket(2048), 2048);
}

TEST(LtKeyTest, EqualProblemsShareAKeyAndOthersDoNot) {
  GemmF16Params f16{.m = 130, .n = 128, .k = 64, .lda = 64, .ldo = 128};
  const LtKey key = KeyOf(f16);
  f16.m = 144;
  EXPECT_EQ(KeyOf(f16), key);
  f16.m = 145;
  EXPECT_NE(KeyOf(f16), key);
  f16.m = 130;
  f16.type = ActivationType::kBf16;
  EXPECT_NE(KeyOf(f16), key);
  GemmFp8Params fp8{.m = 130, .n = 128, .k = 64, .ldo = 128};
  const LtKey fast = KeyOf(fp8);
  EXPECT_NE(fast, key);
  fp8.mode = Fp8Mode::kExact;
  EXPECT_NE(KeyOf(fp8), fast);
  fp8.mode = Fp8Mode::kFastAccum;
  fp8.bias = &fp8;
  EXPECT_NE(KeyOf(fp8), fast);
}

}  // namespace
}  // namespace baton::kernels::cuda
