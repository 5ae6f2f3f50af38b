#include "router/routing_policy.h"

#include <gtest/gtest.h>

#include <vector>

namespace baton {
namespace {

std::vector<Candidate> Loads(std::vector<uint32_t> requests) {
  std::vector<Candidate> candidates;
  for (uint32_t r : requests) candidates.push_back({r, 0});
  return candidates;
}

TEST(RoutingPolicyTest, RoundRobinGoesRound) {
  const auto policy = *MakeRoutingPolicy("round_robin", 0);
  const auto candidates = Loads({9, 0, 5});
  for (uint64_t draw = 0; draw < 9; ++draw) EXPECT_EQ(policy->Pick(candidates, draw), draw % 3);
}

TEST(RoutingPolicyTest, LeastLoadedTakesTheLeastAndSharesTies) {
  const auto policy = *MakeRoutingPolicy("least_loaded", 0);
  for (uint64_t draw = 0; draw < 4; ++draw) EXPECT_EQ(policy->Pick(Loads({3, 1, 2}), draw), 1u);
  EXPECT_EQ(policy->Pick(Loads({1, 1}), 0), 0u);
  EXPECT_EQ(policy->Pick(Loads({1, 1}), 1), 1u);
  const std::vector<Candidate> by_tokens = {{1, 500}, {1, 20}};
  EXPECT_EQ(policy->Pick(by_tokens, 0), 1u);
}

TEST(RoutingPolicyTest, PowerOfTwoAvoidsTheMostLoadedAndReachesTheOthers) {
  const auto policy = *MakeRoutingPolicy("power_of_two", 42);
  std::vector<int> chosen(4);
  for (uint64_t draw = 0; draw < 4000; ++draw) ++chosen[policy->Pick(Loads({1, 1, 9, 1}), draw)];
  EXPECT_EQ(chosen[2], 0);
  for (int i : {0, 1, 3}) EXPECT_GT(chosen[i], 800) << i;
}

TEST(RoutingPolicyTest, PowerOfTwoIsAFunctionOfSeedAndDraw) {
  const auto a = *MakeRoutingPolicy("power_of_two", 1);
  const auto b = *MakeRoutingPolicy("power_of_two", 1);
  const auto c = *MakeRoutingPolicy("power_of_two", 2);
  int differ = 0;
  const auto candidates = Loads({0, 0, 0, 0, 0, 0, 0, 0});
  for (uint64_t draw = 0; draw < 100; ++draw) {
    EXPECT_EQ(a->Pick(candidates, draw), b->Pick(candidates, draw));
    differ += a->Pick(candidates, draw) != c->Pick(candidates, draw);
  }
  EXPECT_GT(differ, 50);
}

TEST(RoutingPolicyTest, OneCandidateIsTaken) {
  for (const char* name : {"round_robin", "least_loaded", "power_of_two"}) {
    EXPECT_EQ((*MakeRoutingPolicy(name, 3))->Pick(Loads({7}), 5), 0u);
  }
}

TEST(RoutingPolicyTest, UnknownNamesAreRefused) {
  EXPECT_EQ(MakeRoutingPolicy("random", 0).status().code(), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace baton
