#include "common/eval/svg.h"

#include <gtest/gtest.h>

#include <limits>

namespace baton {
namespace {

size_t Count(const std::string& text, const std::string& part) {
  size_t count = 0;
  for (size_t at = text.find(part); at != std::string::npos; at = text.find(part, at + 1)) ++count;
  return count;
}

TEST(Svg, LinesEscapeNamesAndCloseTheirTags) {
  const std::string svg =
      DrawLines({{"a < b & \"c\"", "x", "y", {{"one", {0, 1, 2}, {0, 2, 1}}, {"two", {0}, {5}}}}});
  EXPECT_NE(svg.find("a &lt; b &amp; &quot;c&quot;"), std::string::npos);
  EXPECT_EQ(Count(svg, "<svg"), 1u);
  EXPECT_EQ(Count(svg, "</svg>"), 1u);
  EXPECT_EQ(Count(svg, "<text"), Count(svg, "</text>"));
  EXPECT_EQ(Count(svg, "<path"), 2u);
}

TEST(Svg, ValuesThatAreNotFiniteLeaveAGap) {
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double infinity = std::numeric_limits<double>::infinity();
  const std::string svg =
      DrawLines({{"t", "x", "y", {{"s", {0, 1, 2, 3, 4}, {1, nan, 2, infinity, 3}}}}});
  EXPECT_EQ(Count(svg, "nan"), 0u);
  EXPECT_EQ(Count(svg, "inf"), 0u);
  EXPECT_EQ(Count(svg, "M"), 3u);  // a new line after each gap
}

TEST(Svg, AnEmptyPlotIsStillAPage) {
  EXPECT_NE(DrawLines({{"nothing", "x", "y", {}}}).find("nothing"), std::string::npos);
}

TEST(Svg, HeatMapShadesByValue) {
  const std::string svg = DrawHeatMap({.title = "t",
                                       .columns_title = "c",
                                       .rows_title = "r",
                                       .columns = {"one", "two"},
                                       .rows = {"row"},
                                       .values = {0, 4}});
  EXPECT_EQ(Count(svg, "rgb(255,255,255)"), 1u);
  EXPECT_EQ(Count(svg, "rgb(255,65,65)"), 1u);
  EXPECT_NE(svg.find("+4.00"), std::string::npos);
}

}  // namespace
}  // namespace baton
