#include "common/tokenizer/stop_strings.h"

#include <gtest/gtest.h>

#include <optional>
#include <random>
#include <string>
#include <vector>

namespace baton {
namespace {

StopStringMatcher Make(std::vector<std::string> stops, bool include_stop = false) {
  auto matcher = StopStringMatcher::Create(std::move(stops), {.include_stop = include_stop});
  EXPECT_TRUE(matcher.ok()) << matcher.status();
  return *std::move(matcher);
}

TEST(StopStringsTest, HoldsBackWhatMayBecomeAStop) {
  auto matcher = Make({"END"});
  EXPECT_EQ(matcher.Push("the E", 0).text, "the ");
  EXPECT_EQ(matcher.held(), 1u);
  EXPECT_EQ(matcher.Push("N", 1).text, "");
  EXPECT_EQ(matcher.Push("T", 2).text, "ENT");
  EXPECT_EQ(matcher.Push("E", 3).text, "");
  const auto output = matcher.Push("ND and more", 4);
  EXPECT_EQ(output.text, "");
  ASSERT_TRUE(output.match);
  EXPECT_EQ(output.match->stop, 0u);
  EXPECT_EQ(output.match->token, 4u);
  EXPECT_TRUE(matcher.matched());
  EXPECT_EQ(matcher.Flush(), "");
}

TEST(StopStringsTest, KeepsTheStopOnRequest) {
  auto matcher = Make({"\n\n"}, /*include_stop=*/true);
  EXPECT_EQ(matcher.Push("a\n", 0).text, "a");
  const auto output = matcher.Push("\nb", 1);
  EXPECT_EQ(output.text, "\n\n");
  EXPECT_EQ(output.match->token, 1u);
}

TEST(StopStringsTest, ReleasesWhatWasHeldAtTheEnd) {
  auto matcher = Make({"stop"});
  EXPECT_EQ(matcher.Push("st", 0).text, "");
  EXPECT_EQ(matcher.Flush(), "st");
  EXPECT_EQ(matcher.Push("op", 1).text, "op");
}

TEST(StopStringsTest, FirstEndWinsThenTheLongest) {
  auto both = Make({"bcd", "c"});
  const auto inner = both.Push("abcd", 0);
  EXPECT_EQ(inner.match->stop, 1u);
  EXPECT_EQ(inner.text, "ab");
  auto same_end = Make({"c", "abc", "bc"});
  const auto longest = same_end.Push("xabc", 0);
  EXPECT_EQ(longest.match->stop, 1u);
  EXPECT_EQ(longest.text, "x");
  auto twice = Make({"x", "x"});
  EXPECT_EQ(twice.Push("x", 0).match->stop, 0u);
}

TEST(StopStringsTest, FallsBackIntoAnOverlap) {
  auto matcher = Make({"aab"});
  EXPECT_EQ(matcher.Push("aa", 0).text, "");
  EXPECT_EQ(matcher.Push("a", 1).text, "a");
  EXPECT_EQ(matcher.Push("b", 2).match->token, 2u);
}

TEST(StopStringsTest, PassesEverythingWithoutStops) {
  auto matcher = Make({});
  EXPECT_EQ(matcher.Push("anything", 0).text, "anything");
  EXPECT_EQ(matcher.held(), 0u);
}

TEST(StopStringsTest, RefusesBadStops) {
  const auto code = [](std::vector<std::string> stops) {
    return StopStringMatcher::Create(std::move(stops)).status().code();
  };
  EXPECT_EQ(code({"ok", ""}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({"\xff"}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code(std::vector<std::string>(65, "x")), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({std::string(8193, 'x')}), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(code({std::string(8192, 'x')}), absl::StatusCode::kOk);
}

struct Found {
  size_t end;  // byte behind the match
  size_t stop;
};

// Tries every end and every stop string.
std::optional<Found> NaiveSearch(const std::string& text, const std::vector<std::string>& stops) {
  for (size_t end = 1; end <= text.size(); ++end) {
    std::optional<Found> best;
    for (size_t i = 0; i < stops.size(); ++i) {
      const bool here = text.substr(0, end).ends_with(stops[i]);
      if (here && (!best || stops[i].size() > stops[best->stop].size())) best = Found{end, i};
    }
    if (best) return best;
  }
  return std::nullopt;
}

// Longest suffix of `text` that is a proper prefix of a stop string.
size_t NaiveHeld(const std::string& text, const std::vector<std::string>& stops) {
  for (size_t length = text.size(); length > 0; --length) {
    for (const auto& stop : stops) {
      if (stop.starts_with(text.substr(text.size() - length))) return length;
    }
  }
  return 0;
}

TEST(StopStringsTest, AgreesWithANaiveSearchHoweverTheTextIsCut) {
  constexpr uint32_t kSeed = 99;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::mt19937 random(kSeed);
  const auto draw = [&](size_t longest) {
    std::string text;
    for (size_t n = random() % (longest + 1); n > 0; --n) text += "ab"[random() % 2];
    return text;
  };
  int matches = 0;
  for (int round = 0; round < 20000; ++round) {
    std::vector<std::string> stops;
    for (uint32_t n = random() % 4; n > 0; --n) stops.emplace_back("a").append(draw(5));
    const bool include = random() % 2 == 0;
    auto matcher = Make(stops, include);
    std::string fed;
    std::string shown;
    std::optional<StopMatch> match;
    for (size_t token = 0; token < 10 && !match; ++token) {
      const std::string delta = draw(4);
      const auto output = matcher.Push(delta, token);
      fed += delta;
      shown += output.text;
      match = output.match;
      if (match) {
        ASSERT_EQ(match->token, token);
      } else {
        ASSERT_EQ(matcher.held(), NaiveHeld(fed, stops));
        ASSERT_EQ(shown.size() + matcher.held(), fed.size());
      }
    }
    const auto expected = NaiveSearch(fed, stops);
    ASSERT_EQ(match.has_value(), expected.has_value());
    if (!expected) {
      ASSERT_EQ(shown + matcher.Flush(), fed);
      continue;
    }
    ++matches;
    ASSERT_EQ(match->stop, expected->stop);
    const size_t cut = include ? 0 : stops[expected->stop].size();
    ASSERT_EQ(shown, fed.substr(0, expected->end - cut));
  }
  EXPECT_GT(matches, 1000);
}

}  // namespace
}  // namespace baton
