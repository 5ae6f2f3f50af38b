#include "common/tokenizer/added_tokens.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace baton {
namespace {

// "[text](id:token)…", to compare segmentations at a glance.
std::string Show(const std::vector<AddedToken>& tokens, std::string_view text) {
  const AddedTokenMatcher matcher(tokens);
  std::string shown;
  for (const auto& segment : matcher.Split(text)) {
    const char* close = segment.id ? ")" : "]";
    shown += segment.id ? fmt::format("({}:", *segment.id) : "[";
    shown += segment.text;
    shown += close;
  }
  return shown;
}

TEST(AddedTokensTest, FindsTheLeftmostLongest) {
  const std::vector<AddedToken> tokens = {
      {.content = "<a>", .id = 1}, {.content = "<a>b", .id = 2}, {.content = ">b", .id = 3}};
  EXPECT_EQ(Show(tokens, ""), "");
  EXPECT_EQ(Show(tokens, "none"), "[none]");
  EXPECT_EQ(Show(tokens, "<a>"), "(1:<a>)");
  EXPECT_EQ(Show(tokens, "x<a>bc<a>"), "[x](2:<a>b)[c](1:<a>)");
  EXPECT_EQ(Show(tokens, "<a<a>>b"), "[<a](1:<a>)(3:>b)");
}

TEST(AddedTokensTest, StripsWhiteSpace) {
  const std::vector<AddedToken> left = {{.content = "T", .id = 1, .lstrip = true}};
  EXPECT_EQ(Show(left, "a \u00a0\nT b"), "[a](1: \u00a0\nT)[ b]");
  EXPECT_EQ(Show(left, "  T"), "(1:  T)");
  const std::vector<AddedToken> right = {{.content = "T", .id = 1, .rstrip = true}};
  EXPECT_EQ(Show(right, "a T\u3000 b"), "[a ](1:T\u3000 )[b]");
  const std::vector<AddedToken> both = {{.content = "T", .id = 1, .lstrip = true, .rstrip = true}};
  EXPECT_EQ(Show(both, "T  T"), "(1:T  )(1:T)");
}

TEST(AddedTokensTest, MatchesWholeWordsOnly) {
  const std::vector<AddedToken> tokens = {{.content = "ab", .id = 1, .single_word = true}};
  EXPECT_EQ(Show(tokens, "ab"), "(1:ab)");
  EXPECT_EQ(Show(tokens, "ab, (ab)"), "(1:ab)[, (](1:ab)[)]");
  EXPECT_EQ(Show(tokens, "xab ab1 _ab \u00e9ab ab\u4e2d"), "[xab ab1 _ab \u00e9ab ab\u4e2d]");
}

}  // namespace
}  // namespace baton
