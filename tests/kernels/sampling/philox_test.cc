#include "gtest/gtest.h"
#include "kernels/sampling/sampling.h"

namespace baton::kernels {
namespace {

using Words4 = std::array<uint32_t, 4>;

// The known-answer vectors of Random123 for philox4x32-10.
TEST(PhiloxTest, KnownAnswers) {
  EXPECT_EQ(Philox4x32({0, 0, 0, 0}, {0, 0}),
            (Words4{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}));
  EXPECT_EQ(Philox4x32({0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}, {0xffffffff, 0xffffffff}),
            (Words4{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}));
  EXPECT_EQ(Philox4x32({0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}, {0xa4093822, 0x299f31d0}),
            (Words4{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}));
}

TEST(PhiloxTest, UniformUsesTheFirstWord) {
  EXPECT_EQ(SamplingUniform(0, 0), static_cast<float>(0x6627e8) / 16777216.0f);
  // Key and counter are the low and high words, in this order.
  const auto words = Philox4x32({7, 9, 2, 0}, {5, 6});
  EXPECT_EQ(SamplingUniform((6ull << 32) | 5, (9ull << 32) | 7, 2),
            static_cast<float>(words[0] >> 8) / 16777216.0f);
}

TEST(PhiloxTest, UniformIsInRangeAndEven) {
  int bins[10] = {};
  for (uint64_t position = 0; position < 10000; ++position) {
    const float u = SamplingUniform(42, position);
    ASSERT_GE(u, 0.0f);
    ASSERT_LT(u, 1.0f);
    ++bins[static_cast<int>(u * 10)];
  }
  for (const int count : bins) EXPECT_NEAR(count, 1000, 150);  // five standard deviations
}

}  // namespace
}  // namespace baton::kernels
