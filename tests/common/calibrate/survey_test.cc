#include "common/calibrate/survey.h"

#include <gtest/gtest.h>

#include "common/base/status.h"
#include "common/calibrate/recommend.h"

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

TEST(Survey, CountsWhatInputsLose) {
  const auto checkpoint = Checkpoint::Open(BATON_TINY_MODEL);
  ASSERT_TRUE(checkpoint.ok());
  std::vector<int32_t> tokens;
  for (int i = 0; i < 64; ++i) tokens.push_back(i * 97 % 4000);
  const auto hidden = EmbedTokens(*checkpoint, tokens);
  ASSERT_TRUE(hidden.ok());
  LayerPass pass(checkpoint->config(), 32, Serial());
  auto recipe = MakeRecipe({.scheme = "w8a8", .algorithm = "smoothquant"});
  ASSERT_TRUE(recipe.ok());
  const auto with = Survey(*checkpoint, false, &*recipe, pass, *hidden, Serial()).costs;
  recipe->activations.reset();
  const auto without = Survey(*checkpoint, false, &*recipe, pass, *hidden, Serial()).costs;
  recipe->fold_rules.clear();
  const auto unscaled = Survey(*checkpoint, false, &*recipe, pass, *hidden, Serial()).costs;
  ASSERT_EQ(with.size(), static_cast<size_t>(kUnits * checkpoint->config().layers));
  for (size_t i = 0; i < with.size(); ++i) {
    EXPECT_GT(with[i].base_error, without[i].base_error);
    EXPECT_EQ(with[i].upgrade_error, 0);  // kept
    EXPECT_EQ(with[i].base_bits, without[i].base_bits);
    const bool scaled = with[i].unit != Unit::kO;
    EXPECT_EQ(without[i].base_error != unscaled[i].base_error, scaled);
  }
}

TEST(Recommended, FastestOrTheMoreExactOfThoseNearlyAsFast) {
  EXPECT_EQ(Recommended({{"w4a16", 100, 0.6}, {"w4a8", 90, 0.7}, {"w8a8", 50, 0.01}}).scheme,
            "w8a8");
  EXPECT_EQ(Recommended({{"w4a16", 54, 0.6}, {"w4a8", 50, 0.7}, {"w8a8", 80, 0.01}}).scheme,
            "w4a16");
}

TEST(MeasureSchemes, EightBitsLoseLess) {
  const auto checkpoint = Checkpoint::Open(BATON_TINY_MODEL);
  ASSERT_TRUE(checkpoint.ok());
  std::vector<int32_t> tokens;
  for (int i = 0; i < 32; ++i) tokens.push_back(i * 97 % 4000);
  const auto hidden = EmbedTokens(*checkpoint, tokens);
  ASSERT_TRUE(hidden.ok());
  LayerPass pass(checkpoint->config(), 16, Serial());
  const std::vector<SchemeCost> costs = MeasureSchemes(*checkpoint, 3, pass, *hidden, Serial());
  ASSERT_EQ(costs.size(), 3u);
  for (const SchemeCost& cost : costs) EXPECT_GT(cost.microseconds, 0);
  EXPECT_GT(costs[1].error, costs[0].error);  // the same weights; its inputs are rounded too
  EXPECT_LT(costs[1].error, costs[0].error * 1.5);
  EXPECT_LT(costs[2].error, costs[0].error / 4);
  EXPECT_FALSE(EmbedTokens(*checkpoint, std::vector<int32_t>{-1}).ok());
}

}  // namespace
}  // namespace baton
