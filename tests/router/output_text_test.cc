#include "router/output_text.h"

#include <gtest/gtest.h>

#include "tests/router/fake_codec.h"

namespace baton {
namespace {

RequestSpec Spec(std::vector<std::string> stops, bool include = false) {
  RequestSpec spec;
  spec.stops = std::move(stops);
  spec.include_stop = include;
  return spec;
}

TEST(OutputTextTest, WithoutACodecTokensPassAndTextStaysEmpty) {
  auto text = OutputText::Create(Spec({}), nullptr);
  EXPECT_EQ(text->Push(100000)->text, "");
  EXPECT_EQ(text->Finish(), "");
}

TEST(OutputTextTest, TextThatMayBecomeAStopStringIsHeldBack) {
  const FakeCodec codec;
  auto text = OutputText::Create(Spec({"abc"}), &codec);
  EXPECT_EQ(text->Push('x')->text, "x");
  EXPECT_EQ(text->Push('a')->text, "");
  EXPECT_EQ(text->Push('b')->text, "");
  EXPECT_EQ(text->Push('y')->text, "aby");
  EXPECT_EQ(text->Push('a')->text, "");
  EXPECT_EQ(text->Finish(), "a");
}

TEST(OutputTextTest, AMatchNamesTheStopStringAndHidesIt) {
  const FakeCodec codec;
  auto text = OutputText::Create(Spec({"zz", "ab"}), &codec);
  text->Push('a').value();
  const auto piece = text->Push('b');
  EXPECT_EQ(piece->text, "");
  EXPECT_EQ(piece->matched_stop, "ab");
}

TEST(OutputTextTest, TheStopStringIsKeptWhenAskedFor) {
  const FakeCodec codec;
  auto text = OutputText::Create(Spec({"ab"}, true), &codec);
  text->Push('a').value();
  EXPECT_EQ(text->Push('b')->text, "ab");
}

TEST(OutputTextTest, SpecialTokensFollowTheRequest) {
  const FakeCodec codec;
  RequestSpec spec;
  EXPECT_EQ(OutputText::Create(spec, &codec)->Push(0)->text, "");
  spec.skip_special_tokens = false;
  EXPECT_EQ(OutputText::Create(spec, &codec)->Push(0)->text, "<s>");
}

TEST(OutputTextTest, AnIdThatIsNoTokenIsAnError) {
  const FakeCodec codec;
  EXPECT_FALSE(OutputText::Create(Spec({}), &codec)->Push(300).ok());
}

}  // namespace
}  // namespace baton
