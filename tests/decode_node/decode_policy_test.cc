#include "decode_node/decode_policy.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace baton {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using Entry = StepPlan::Entry;

TEST(DecodePolicyTest, OldestFirstUpToTheBatch) {
  EngineSnapshot snapshot;
  snapshot.max_batch = 2;
  snapshot.max_step_tokens = 2;
  EXPECT_THAT(DecodePolicy().Plan(snapshot).entries, IsEmpty());
  for (SequenceKey key : {4, 7, 9}) snapshot.sequences.push_back({key, 1, 10});
  EXPECT_THAT(DecodePolicy().Plan(snapshot).entries, ElementsAre(Entry{4, 1}, Entry{7, 1}));
}

TEST(DecodePolicyTest, TokensOfAStepAreBounded) {
  EngineSnapshot snapshot;
  snapshot.max_batch = 4;
  snapshot.max_step_tokens = 5;
  snapshot.sequences = {{1, 4, 0}, {2, 4, 0}, {3, 1, 0}};
  EXPECT_THAT(DecodePolicy().Plan(snapshot).entries, ElementsAre(Entry{1, 4}, Entry{2, 1}));
}

}  // namespace
}  // namespace baton
