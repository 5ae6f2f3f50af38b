#include "common/engine/sequence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace baton {
namespace {

using ::testing::ElementsAre;

EngineRequest MakeRequest() {
  EngineRequest request;
  request.prompt = {1, 2, 3};
  request.stop.max_tokens = 2;
  request.stop.stop_token_ids = {9};
  return request;
}

TEST(SequenceTest, CountsPromptOutputAndComputed) {
  Sequence sequence(MakeRequest());
  EXPECT_EQ(sequence.uncomputed(), 3);
  sequence.SetComputed(3);
  EXPECT_FALSE(sequence.Append(4));
  EXPECT_THAT(sequence.tokens(), ElementsAre(1, 2, 3, 4));
  EXPECT_THAT(sequence.prompt(), ElementsAre(1, 2, 3));
  EXPECT_EQ(sequence.output_tokens(), 1);
  EXPECT_EQ(sequence.uncomputed(), 1);
}

TEST(SequenceTest, FinishesByLength) {
  Sequence sequence(MakeRequest());
  sequence.Append(4);
  ASSERT_TRUE(sequence.Append(5));
  EXPECT_EQ(sequence.finish()->reason, v1::FINISH_REASON_LENGTH);
}

TEST(SequenceTest, FinishesByStopToken) {
  Sequence sequence(MakeRequest());
  ASSERT_TRUE(sequence.Append(9));
  EXPECT_EQ(sequence.finish()->matched_stop_token, 9);
}

TEST(SequenceDeathTest, FinishedSequenceTakesNoToken) {
  Sequence sequence(MakeRequest());
  sequence.Append(9);
  EXPECT_DEATH(sequence.Append(1), "finish_");
}

}  // namespace
}  // namespace baton
