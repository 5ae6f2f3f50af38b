#include "common/cli/arrivals.h"

#include <gtest/gtest.h>

#include <algorithm>

namespace baton {
namespace {

TEST(ArrivalsTest, PoissonGapsHaveTheMeanOfTheRateAndAreReproducible) {
  const auto times = ArrivalTimes(20000, 50.0, 3);
  EXPECT_EQ(times, ArrivalTimes(20000, 50.0, 3));
  EXPECT_NE(times, ArrivalTimes(20000, 50.0, 4));
  EXPECT_TRUE(std::is_sorted(times.begin(), times.end()));
  // 20,000 exponential gaps of mean 20 ms: the standard error of the mean is 0.14 ms.
  EXPECT_NEAR(Milliseconds(times.back()) / 20000, 20.0, 1.0);
}

TEST(ArrivalsTest, NoRateStartsAllAtOnce) {
  for (const Duration time : ArrivalTimes(5, 0, 1)) EXPECT_EQ(time, Duration::zero());
}

TEST(ArrivalsTest, PromptsAreInTheVocabularyAndDifferByIndex) {
  const auto prompt = RandomPrompt(500, 10, {3, 4}, 1, 0);
  EXPECT_EQ(prompt.size(), 500u);
  for (int32_t id : prompt) {
    EXPECT_TRUE(id >= 0 && id < 10 && id != 3 && id != 4) << id;
  }
  EXPECT_NE(prompt, RandomPrompt(500, 10, {3, 4}, 1, 1));
  EXPECT_EQ(prompt, RandomPrompt(500, 10, {3, 4}, 1, 0));
}

}  // namespace
}  // namespace baton
