#include "common/quant/formats/module_pattern.h"

#include <gtest/gtest.h>

#include "common/base/status.h"

namespace baton {
namespace {

using Match = ModulePatterns::Match;

TEST(ModulePatterns, NamesExpressionsAndClasses) {
  const auto patterns = ModulePatterns::Parse(
      {"lm_head", "re:.*mlp\\.gate_proj", "re:model\\.layers\\.0\\.", "Embedding"}, "ignore");
  ASSERT_TRUE(patterns.ok()) << ToString(patterns.status());
  EXPECT_EQ(patterns->Matches("lm_head", "Linear"), Match::kName);
  EXPECT_EQ(patterns->Matches("model.lm_head", "Linear"), Match::kNone);
  EXPECT_EQ(patterns->Matches("model.layers.7.mlp.gate_proj", "Linear"), Match::kExpression);
  EXPECT_EQ(patterns->Matches("model.layers.0.mlp.up_proj", "Linear"), Match::kExpression);
  // From the start of the name, as Python's re.match.
  EXPECT_EQ(patterns->Matches("x.model.layers.0.mlp.up_proj", "Linear"), Match::kNone);
  EXPECT_EQ(patterns->Matches("model.embed_tokens", "Embedding"), Match::kClass);
}

TEST(ModulePatterns, RefusesWhatIsNoExpression) {
  for (const char* wrong : {"re:(", "re:a{100000}", "re:[z-a]"}) {
    EXPECT_EQ(ModulePatterns::Parse({wrong}, "ignore").status().code(),
              absl::StatusCode::kInvalidArgument)
        << wrong;
  }
  EXPECT_FALSE(ModulePatterns::Parse({std::string(5000, 'a')}, "ignore").ok());
}

// Expressions run in time linear in the name: this one takes ages where it is backtracked.
TEST(ModulePatterns, HostileExpressionsCostNothing) {
  const auto patterns = ModulePatterns::Parse({"re:(a+)+$"}, "ignore");
  ASSERT_TRUE(patterns.ok());
  EXPECT_EQ(patterns->Matches(std::string(1000, 'a') + "b", "Linear"), Match::kNone);
}

}  // namespace
}  // namespace baton
