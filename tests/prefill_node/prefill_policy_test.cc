#include "prefill_node/prefill_policy.h"

#include <gtest/gtest.h>

namespace baton {
namespace {

using Entry = StepPlan::Entry;

EngineSnapshot Snapshot(std::vector<SequenceView> sequences, int pages = 100) {
  return {std::move(sequences), pages, /*max_batch=*/3, /*max_step_tokens=*/100};
}

SequenceView Holds(SequenceKey key, int uncomputed) {
  return {.key = key, .uncomputed = uncomputed};
}
SequenceView Waits(SequenceKey key, int uncomputed, int pages) {
  return {.key = key, .uncomputed = uncomputed, .holds_pages = false, .pages_needed = pages};
}

TEST(PrefillPolicyTest, EmptySnapshotGivesAnEmptyPlan) {
  EXPECT_TRUE(PrefillPolicy().Plan(Snapshot({})).entries.empty());
}

TEST(PrefillPolicyTest, FillsTheBudgetInOrder) {
  const StepPlan plan = PrefillPolicy().Plan(Snapshot({Holds(1, 70), Holds(2, 70), Holds(3, 5)}));
  EXPECT_EQ(plan.entries, (std::vector<Entry>{{1, 70}, {2, 30}}));
}

TEST(PrefillPolicyTest, LongPromptTakesTheWholeStep) {
  const StepPlan plan = PrefillPolicy().Plan(Snapshot({Holds(1, 1000), Holds(2, 1)}));
  EXPECT_EQ(plan.entries, (std::vector<Entry>{{1, 100}}));
}

TEST(PrefillPolicyTest, BatchIsBounded) {
  const StepPlan plan =
      PrefillPolicy().Plan(Snapshot({Holds(1, 1), Holds(2, 1), Holds(3, 1), Holds(4, 1)}));
  EXPECT_EQ(plan.entries.size(), 3u);
}

TEST(PrefillPolicyTest, AdmitsWhilePagesLast) {
  const StepPlan plan =
      PrefillPolicy().Plan(Snapshot({Waits(1, 10, 6), Waits(2, 10, 4), Waits(3, 10, 1)}, 10));
  EXPECT_EQ(plan.admit, (std::vector<SequenceKey>{1, 2}));
  EXPECT_EQ(plan.entries, (std::vector<Entry>{{1, 10}, {2, 10}}));
}

TEST(PrefillPolicyTest, NobodyOvertakesWhoWaitsForPages) {
  const StepPlan plan =
      PrefillPolicy().Plan(Snapshot({Waits(1, 10, 11), Waits(2, 10, 1), Holds(3, 10)}, 10));
  EXPECT_TRUE(plan.admit.empty());
  EXPECT_EQ(plan.entries, (std::vector<Entry>{{3, 10}}));
}

}  // namespace
}  // namespace baton
