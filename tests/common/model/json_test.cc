#include "common/model/json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/base/status.h"

namespace baton {
namespace {

using ::testing::HasSubstr;

TEST(ParseJsonObject, BoundsDepthOutsideStringsOnly) {
  EXPECT_TRUE(ParseJsonObject(R"({"a":"[[[[[[\"[[["})", "x", {1000, 2}).ok());
  EXPECT_TRUE(ParseJsonObject(R"({"a":[1]})", "x", {1000, 2}).ok());
  EXPECT_THAT(ToString(ParseJsonObject(R"({"a":[[1]]})", "x", {1000, 2}).status()),
              HasSubstr("x: JSON nested 3 deep, expected at most 2"));
}

TEST(ParseJsonObject, AMillionBracketsCostNoStack) {
  const std::string deep(1'000'000, '[');
  EXPECT_FALSE(ParseJsonObject(deep, "x", {1 << 21, 16}).ok());
}

TEST(ParseJsonObject, RefusesLongTexts) {
  EXPECT_THAT(ToString(ParseJsonObject(R"({"a":1})", "x", {6, 4}).status()),
              HasSubstr("7 bytes of JSON, expected at most 6"));
}

TEST(ParseJsonObject, RefusesAKeyGivenTwiceAtAnyDepth) {
  EXPECT_THAT(ToString(ParseJsonObject(R"({"a":{"k":1,"k":2}})", "x", {}).status()),
              HasSubstr("'k' is given twice"));
  EXPECT_TRUE(ParseJsonObject(R"({"a":{"k":1},"b":{"k":2}})", "x", {}).ok());
}

TEST(JsonFields, NamesFieldValueAndExpectation) {
  const nlohmann::json object = nlohmann::json::parse(
      R"({"n":7,"big":18446744073709551615,"f":1.5,"s":"x","b":true,"null":null,"o":{"p":1}})");
  const JsonFields fields(object, "c: ");
  EXPECT_EQ(*fields.Int("n", 0, 7), 7);
  EXPECT_THAT(ToString(fields.Int("n", 0, 6).status()),
              HasSubstr("c: n: 7, expected an integer from 0 to 6"));
  EXPECT_THAT(ToString(fields.Int("big", 0, INT64_MAX).status()),
              HasSubstr("18446744073709551615"));
  EXPECT_FALSE(fields.Int("f", 0, 9).ok());
  EXPECT_FALSE(fields.Int("b", 0, 9).ok());
  EXPECT_THAT(ToString(fields.Int("absent", 0, 9).status()), HasSubstr("c: absent: missing"));
  EXPECT_EQ(*fields.Int("null", 0, 9, 3), 3);
  EXPECT_EQ(*fields.Number("f", 0, 2), 1.5);
  EXPECT_FALSE(fields.Number("f", 2, 3).ok());
  EXPECT_EQ(*fields.Bool("b"), true);
  EXPECT_FALSE(fields.Bool("n").ok());
  EXPECT_EQ(*fields.String("s"), "x");
  EXPECT_FALSE(fields.String("n").ok());
  EXPECT_FALSE(fields.Object("n").ok());
  EXPECT_THAT(ToString(fields.Object("o")->Int("q", 0, 1).status()), HasSubstr("c: o.q: missing"));
}

TEST(ShortJson, CutsLongValues) {
  EXPECT_LT(ShortJson(nlohmann::json(std::string(1000, 'a'))).size(), 100u);
}

}  // namespace
}  // namespace baton
