#include "common/calibrate/survey.h"

#include <gtest/gtest.h>

#include "common/base/status.h"

namespace baton {
namespace {

std::vector<UnitCost> Costs() {
  std::vector<UnitCost> costs;
  for (int layer = 0; layer < 2; ++layer) {
    for (int u = 0; u < kUnits; ++u) {
      costs.push_back({.layer = layer,
                       .unit = static_cast<Unit>(u),
                       .base_error = 0.01,
                       .upgrade_error = 0.001,
                       .base_bits = 4000,
                       .upgrade_bits = 8000,
                       .weights = 1000});
    }
  }
  costs[6].base_error = 0.5;   // gate and up of layer 1
  costs[1].base_error = 0.05;  // o of layer 0
  return costs;
}

int Upgraded(const std::vector<LayerPlan>& plans) {
  int count = 0;
  for (const LayerPlan& plan : plans) {
    for (const LinearPlan& linear : plan) count += linear.spec.bits == 8;
  }
  return count;
}

TEST(PlanWithinBits, UpgradesTheMostSensitiveUnitsWhole) {
  const auto recipe = MakeRecipe({.scheme = "w4a16"});
  ASSERT_TRUE(recipe.ok());
  // 8 units; one upgrade adds half a bit per weight.
  const auto one = PlanWithinBits(*recipe, 4.6, 2, Costs());
  ASSERT_TRUE(one.ok()) << ToString(one.status());
  EXPECT_EQ(Upgraded(*one), 2);
  EXPECT_EQ((*one)[1][static_cast<size_t>(Linear::kGate)].spec.bits, 8);
  EXPECT_EQ((*one)[1][static_cast<size_t>(Linear::kUp)].spec.bits, 8);
  const auto two = PlanWithinBits(*recipe, 5.0, 2, Costs());
  ASSERT_TRUE(two.ok());
  EXPECT_EQ(Upgraded(*two), 3);
  EXPECT_EQ((*two)[0][static_cast<size_t>(Linear::kO)].spec.bits, 8);
  EXPECT_EQ(Upgraded(*PlanWithinBits(*recipe, 4.0, 2, Costs())), 0);
  EXPECT_EQ(Upgraded(*PlanWithinBits(*recipe, 16.0, 2, Costs())), 14);
  EXPECT_FALSE(PlanWithinBits(*recipe, 3.9, 2, Costs()).ok());
}

}  // namespace
}  // namespace baton
