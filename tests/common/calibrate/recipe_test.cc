#include "common/calibrate/recipe.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/status.h"

namespace baton {
namespace {

using ::testing::HasSubstr;

std::string MessageFor(const RecipeOptions& options) {
  return std::string(MessageOf(MakeRecipe(options).status()));
}

TEST(Recipe, EverySchemeHasADefault) {
  for (const char* scheme : {"w8a8", "w8a8-fp8", "w4a16", "w4a8", "w4a8kv4"}) {
    const auto recipe = MakeRecipe({.scheme = scheme});
    ASSERT_TRUE(recipe.ok()) << ToString(recipe.status());
    EXPECT_EQ(recipe->scheme, scheme);
    EXPECT_TRUE(recipe->NeedsText());
    EXPECT_EQ(recipe->smooth_cache, std::string(scheme) == "w4a8kv4");
    EXPECT_EQ(recipe->activations.has_value(), std::string(scheme) != "w4a16");
  }
}

TEST(Recipe, FormsOfTheWeights) {
  const auto w8 = MakeRecipe({.scheme = "w8a8", .algorithm = "rtn"});
  ASSERT_TRUE(w8.ok());
  EXPECT_EQ(w8->weights.group, 0);
  EXPECT_TRUE(w8->weights.symmetric);
  EXPECT_FALSE(w8->NeedsText());
  const auto w4 = MakeRecipe({.scheme = "w4a16", .group = 64, .symmetric = true});
  ASSERT_TRUE(w4.ok());
  EXPECT_EQ(w4->weights.group, 64);
  EXPECT_TRUE(w4->weights.symmetric);
  // Sensitive layers: 8 bits beside 4, 16 beside 8.
  EXPECT_EQ(w4->upgrade.spec.bits, 8);
  EXPECT_TRUE(w8->upgrade.keep);
}

TEST(Recipe, DescriptionsTellRecipesApart) {
  const auto text = [](const RecipeOptions& o) { return MakeRecipe(o)->Description(); };
  const std::string base = text({.scheme = "w4a16"});
  EXPECT_EQ(base, text({.scheme = "w4a16"}));
  for (const RecipeOptions& other :
       {RecipeOptions{.scheme = "w4a8"}, RecipeOptions{.scheme = "w4a16", .algorithm = "rtn"},
        RecipeOptions{.scheme = "w4a16", .group = 64},
        RecipeOptions{.scheme = "w4a16", .symmetric = true},
        RecipeOptions{.scheme = "w4a16", .damping = 0.05},
        RecipeOptions{.scheme = "w4a16", .smooth_cache = true}}) {
    EXPECT_NE(base, text(other));
  }
}

TEST(Recipe, RefusalsNameFieldValueAndExpectation) {
  EXPECT_THAT(MessageFor({.scheme = "w5a16"}), HasSubstr("scheme: 'w5a16', expected w8a8"));
  EXPECT_THAT(MessageFor({.scheme = "w4a16", .algorithm = "magic"}),
              HasSubstr("algorithm: 'magic', expected auto, rtn"));
  for (const char* name : {"nf4", "llm.int8"}) {
    const auto status = MakeRecipe({.scheme = "w4a16", .algorithm = name}).status();
    EXPECT_EQ(status.code(), absl::StatusCode::kUnimplemented);
    EXPECT_THAT(std::string(MessageOf(status)), HasSubstr("library only"));
  }
  EXPECT_THAT(MessageFor({.scheme = "w8a8", .algorithm = "hqq"}), HasSubstr("'hqq'"));
  EXPECT_THAT(MessageFor({.scheme = "w8a8", .group = 64}), HasSubstr("group"));
  EXPECT_THAT(MessageFor({.scheme = "w4a16", .group = 48}), HasSubstr("group: 48"));
  EXPECT_THAT(MessageFor({.scheme = "w4a16", .algorithm = "gptq", .alpha = 0.5f}),
              HasSubstr("alpha"));
  EXPECT_THAT(MessageFor({.scheme = "w8a8", .alpha = 1.5f}), HasSubstr("alpha: 1.5"));
  EXPECT_THAT(MessageFor({.scheme = "w4a16", .algorithm = "rtn", .damping = 0.1}),
              HasSubstr("damping"));
  EXPECT_THAT(MessageFor({.scheme = "w4a16", .algorithm = "qoq", .symmetric = true}),
              HasSubstr("qoq"));
}

}  // namespace
}  // namespace baton
