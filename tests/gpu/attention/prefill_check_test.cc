// Refusals of prefill attention; needs no device.
#include <array>
#include <optional>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "kernels/attention/prefill_cuda.h"

namespace baton::kernels::cuda {
namespace {

class PrefillCheckTest : public ::testing::Test {
 protected:
  PrefillCheckTest() { Plan(false); }

  void Plan(bool gathered) {
    const PagedSequence sequence{nullptr, 0, 10, 0};
    plan_ = PlanPrefill(
        {.q_heads = 8, .kv_heads = 2, .head_dim = 128, .page_tokens = 16, .gathered = gathered},
        {&sequence, 1}, {});
    params_.q = params_.out = memory_.data();
    params_.q_stride = params_.out_stride = 8 * 128;
    params_.scale = 0.1f;
    params_.pool = memory_.data();
    params_.pool_pages = 4;
    params_.layout = KvPageLayout({3, 2, 128}, {}, 16);
    params_.plan = &plan_;
    params_.image = memory_.data();
    params_.workspace = memory_.data();
    params_.workspace_bytes = plan_.WorkspaceBytes();
    params_.sm_count = 132;
  }
  std::string Problem() { return AttentionPrefillProblem(params_).value_or(""); }

  alignas(128) std::array<std::byte, 128> memory_ = {};  // never read
  PrefillPlan plan_;
  AttentionPrefillParams params_;
};

TEST_F(PrefillCheckTest, GoodParameters) { EXPECT_EQ(Problem(), ""); }

TEST_F(PrefillCheckTest, Numbers) {
  params_.q_stride = 1020;
  EXPECT_EQ(Problem(), "q_stride: 1020, expected a multiple of 8, at least 1024");
  params_.q_stride = 1024;
  params_.out_stride = 512;
  EXPECT_EQ(Problem(), "out_stride: 512, expected a multiple of 8, at least 1024");
  params_.out_stride = 1024;
  params_.layer = 3;
  EXPECT_EQ(Problem(), "layer: 3, expected 0 to 2");
  params_.layer = 0;
  params_.pool_pages = 0;
  EXPECT_EQ(Problem(), "pool_pages: 0, expected 1 or more");
  params_.pool_pages = 4;
  params_.scale = 0.0f;
  EXPECT_EQ(Problem(), "scale: 0.000000, expected a positive number");
}

TEST_F(PrefillCheckTest, Pointers) {
  params_.q = memory_.data() + 8;
  EXPECT_EQ(Problem(), "q: expected a pointer aligned to 16 bytes");
  params_.q = memory_.data();
  params_.pool = nullptr;
  EXPECT_EQ(Problem(), "pool: expected a pointer aligned to 64 bytes");
}

TEST_F(PrefillCheckTest, FormatsThatHaveToBeExpanded) {
  EXPECT_FALSE(PrefillNeedsGather(ActivationType::kBf16, {KvFormat::kBf16, KvFormat::kBf16}));
  EXPECT_TRUE(PrefillNeedsGather(ActivationType::kBf16, {KvFormat::kFp16, KvFormat::kFp16}));
  EXPECT_TRUE(PrefillNeedsGather(ActivationType::kFp16, {KvFormat::kFp16, KvFormat::kInt4}));
  params_.layout = KvPageLayout({3, 2, 128}, {KvFormat::kInt8, KvFormat::kInt8}, 16);
  EXPECT_EQ(Problem(), "plan.shape.gathered: 0, expected true for fp16 queries and int8 pages");
  Plan(true);
  params_.layout = KvPageLayout({3, 2, 128}, {KvFormat::kInt8, KvFormat::kInt8}, 16);
  EXPECT_EQ(Problem(), "");
  params_.workspace_bytes = 100;
  EXPECT_EQ(Problem(),
            "workspace_bytes: 100, expected at least " + std::to_string(plan_.WorkspaceBytes()));
}

TEST_F(PrefillCheckTest, PlanOfAnotherLayout) {
  params_.layout = KvPageLayout({3, 2, 128}, {}, 32);
  EXPECT_EQ(Problem(), "plan: made for another page layout");
}

}  // namespace
}  // namespace baton::kernels::cuda
