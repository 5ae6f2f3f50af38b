// The choice and layout of the kernels for products of few bits.
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "kernels/gemm/config.h"
#include "kernels/gemm/cuda.h"
#include "kernels/gemm/fp8_kernels.h"
#include "kernels/gemm/w4a16_kernels.h"

namespace baton::kernels::cuda {
namespace {

constexpr int kSms = 132;
constexpr int kMostShared = 227 * 1024;
constexpr int kTile128 = 1024 + 32;  // group 128, no zero points
constexpr int kTile32 = 1024 + 4 * 48;

TEST(GemmConfig, LaunchersStandInTheOrderOfTheVariants) {
  for (int i = 0; i < static_cast<int>(std::size(kSmallVariants)); ++i) {
    const SmallVariant& v = SmallKernels(i).variant;
    EXPECT_EQ(v.tokens, kSmallVariants[i].tokens) << i;
    EXPECT_EQ(v.tiles, kSmallVariants[i].tiles) << i;
    EXPECT_EQ(v.warps, kSmallVariants[i].warps) << i;
  }
  for (int i = 0; i < static_cast<int>(std::size(kLargeVariants)); ++i) {
    const LargeVariant& v = LargeKernels(i).variant;
    EXPECT_EQ(v.tokens, kLargeVariants[i].tokens) << i;
    EXPECT_EQ(v.groups, kLargeVariants[i].groups) << i;
    EXPECT_EQ(v.blocks, kLargeVariants[i].blocks) << i;
    EXPECT_EQ(v.parts, kLargeVariants[i].parts) << i;
  }
  for (int i = 0; i < static_cast<int>(std::size(kFp8Variants)); ++i) {
    EXPECT_EQ(Fp8Kernels(i).variant.tokens, kFp8Variants[i].tokens) << i;
    EXPECT_EQ(Fp8Kernels(i).variant.groups, kFp8Variants[i].groups) << i;
  }
}

TEST(GemmConfig, EveryTableRowCanBeLaidOut) {
  GemmPlan plan;
  for (const GemmTableRow& row : W4A16Table()) {
    for (const int m : {1, row.max_m}) {
      EXPECT_STREQ(PlanGemm(row.choice, kSms, {m, row.n, row.k, kTile128}, &plan), nullptr)
          << row.n << "x" << row.k << " M " << m;
    }
  }
  for (const GemmTableRow& row : Fp8Table()) {
    EXPECT_LE(row.max_m, kFp8SmallMaxTokens);
    EXPECT_STREQ(PlanGemm(row.choice, kSms, {row.max_m, row.n, row.k}, &plan), nullptr)
        << row.n << "x" << row.k << " M " << row.max_m;
  }
}

TEST(GemmConfig, TheRowOfTheShapeAndTheNextLargerMIsChosen) {
  for (const GemmTableRow& row : W4A16Table()) {
    const GemmChoice choice = ChooseW4A16(kSms, {row.max_m, row.n, row.k, kTile128});
    EXPECT_EQ(choice.kernel, row.choice.kernel);
    EXPECT_EQ(choice.variant, row.choice.variant);
    EXPECT_EQ(choice.split, row.choice.split);
    EXPECT_EQ(choice.shared_kib, row.choice.shared_kib);
  }
  // One token is served by the streaming kernel, a long prompt never is.
  EXPECT_EQ(ChooseW4A16(kSms, {1, 4096, 4096, kTile128}).kernel, GemmKernel::kW4A16Small);
  EXPECT_EQ(ChooseW4A16(kSms, {16384, 4096, 4096, kTile128}).kernel, GemmKernel::kW4A16Large);
}

// Whatever the size, the choice covers it: blocks for every row and token, shared memory that a
// block may have, at least as many stages as the kernel needs to make progress.
TEST(GemmConfig, EverySizeIsServed) {
  std::mt19937 random(5);
  GemmPlan plan;
  for (int i = 0; i < 20000; ++i) {
    GemmSize size = {.m = 1 + static_cast<int>(random() % (1u << random() % 15)),
                     .n = 64 * (1 + static_cast<int>(random() % (1u << random() % 12))),
                     .k = 64 * (1 + static_cast<int>(random() % (1u << random() % 9))),
                     .tile_bytes = random() % 2 == 0 ? kTile128 : kTile32};
    const int sms = random() % 2 == 0 ? kSms : 1 + static_cast<int>(random() % 200);
    const GemmChoice choice = ChooseW4A16(sms, size);
    ASSERT_STREQ(PlanGemm(choice, sms, size, &plan), nullptr)
        << size.m << " " << size.n << " " << size.k << " on " << sms;
    EXPECT_LE(plan.shared_bytes, kMostShared);
    EXPECT_GE(plan.stages, 1);
    EXPECT_EQ(plan.blocks % plan.cluster, 0);
    EXPECT_LE(plan.cluster, 8);
    if (choice.kernel == GemmKernel::kW4A16Small) {
      const int64_t passes = int64_t{plan.blocks} / plan.cluster * plan.passes;
      EXPECT_GE(passes * kSmallVariants[choice.variant].rows(), size.n);
    } else {
      EXPECT_GE(plan.row_blocks * kLargeVariants[choice.variant].rows(), size.n);
      EXPECT_GE(plan.token_blocks * kLargeVariants[choice.variant].tokens, size.m);
    }
    size.m = 1 + size.m % kFp8SmallMaxTokens;
    ASSERT_STREQ(PlanGemm(ChooseFp8(sms, size), sms, size, &plan), nullptr)
        << size.m << " " << size.n << " " << size.k << " on " << sms;
    EXPECT_LE(plan.shared_bytes, kMostShared);
  }
}

TEST(GemmConfig, LayoutsThatCannotServeAreNamed) {
  GemmPlan plan;
  const GemmSize size = {16, 4096, 256, kTile128};
  EXPECT_STREQ(PlanGemm({GemmKernel::kW4A16Small, 0, 1, 112}, kSms, size, &plan),
               "M is more than the kernel's tokens");
  EXPECT_STREQ(PlanGemm({GemmKernel::kW4A16Large, 0, 3, 112}, kSms, size, &plan),
               "split is more than the tiles of K");
  EXPECT_STREQ(PlanGemm({GemmKernel::kW4A16Large, 0, 2, 112}, kSms, size, &plan),
               "K has fewer tiles than parts");
  EXPECT_STREQ(PlanGemm({GemmKernel::kW4A16Large, 1, 1, 20}, kSms, size, &plan),
               "the ring does not fit");
  EXPECT_STREQ(PlanGemm({GemmKernel::kW4A16Large, 1, 1, 400}, kSms, size, &plan),
               "more shared memory than a block may have");
  EXPECT_STREQ(PlanGemm({GemmKernel::kFp8Small, 0, 9, 112}, kSms, size, &plan),
               "split is not 1 … 8");
}

TEST(GemmConfig, ProductsNameWhatTheyRefuse) {
  alignas(16) static uint8_t memory[16];
  GemmW4A16Params p{.m = 1,
                    .layout = {.n = 64, .k = 128, .group = 128},
                    .tiles = memory,
                    .a = memory,
                    .lda = 128,
                    .out = memory,
                    .ldo = 64,
                    .sm_count = kSms};
  EXPECT_STREQ(GemmW4A16Problem(p), nullptr);
  using ::testing::HasSubstr;
  const auto refused = [&](auto change, const char* text) {
    GemmW4A16Params q = p;
    change(q);
    EXPECT_THAT(GemmW4A16Problem(q), HasSubstr(text));
  };
  refused([](auto& q) { q.m = 0; }, "m: ");
  refused([](auto& q) { q.layout.n = 96; }, "n: ");
  refused([](auto& q) { q.layout.k = 96; }, "k: ");
  refused([](auto& q) { q.layout.group = 96; }, "group: ");
  refused([](auto& q) { q.layout.scale_type = ScalarType::kFp32; }, "scales: ");
  refused([](auto& q) { q.lda = 132; }, "lda: ");
  refused([](auto& q) { q.ldo = 56; }, "ldo: ");
  refused([](auto& q) { q.out = memory + 8; }, "pointers: ");
  refused([](auto& q) { q.a = nullptr; }, "a, tiles, out: ");
  refused([](auto& q) { q.sm_count = 0; }, "sm_count: ");
  const int32_t permutation[4] = {};
  refused([&](auto& q) { q.permutation = permutation; }, "workspace: ");
}

}  // namespace
}  // namespace baton::kernels::cuda
