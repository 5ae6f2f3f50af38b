#include "common/tokenizer/utf8.h"

#include <gtest/gtest.h>

#include <random>
#include <string>

namespace baton {
namespace {

constexpr char kReplacement[] = "\xEF\xBF\xBD";

std::string Repair(std::string_view bytes) {
  LossyUtf8Decoder decoder;
  std::string text = decoder.Push(bytes);
  return text + decoder.Flush();
}

TEST(Utf8Test, EveryScalarValueRoundTrips) {
  for (char32_t c = 0; c < 0x110000; ++c) {
    if (c == 0xD800) c = 0xE000;
    const std::string bytes = EncodeUtf8(c);
    const Utf8Step step = NextUtf8(bytes);
    ASSERT_EQ(step.kind, Utf8Step::Kind::kCharacter) << std::hex << static_cast<uint32_t>(c);
    ASSERT_EQ(step.code_point, c);
    ASSERT_EQ(step.length, bytes.size());
  }
}

TEST(Utf8Test, FindsTheFirstIllFormedByte) {
  EXPECT_EQ(FirstInvalidUtf8(""), std::nullopt);
  EXPECT_EQ(FirstInvalidUtf8("a\u00e9\u4e2d\U0001F600"), std::nullopt);
  EXPECT_EQ(FirstInvalidUtf8("ab\x80"), 2u);
  EXPECT_EQ(FirstInvalidUtf8("ab\xC1\xBF"), 2u);          // overlong
  EXPECT_EQ(FirstInvalidUtf8("ab\xE0\x9F\xBF"), 2u);      // overlong
  EXPECT_EQ(FirstInvalidUtf8("ab\xED\xA0\x80"), 2u);      // surrogate
  EXPECT_EQ(FirstInvalidUtf8("ab\xF4\x90\x80\x80"), 2u);  // above U+10FFFF
  EXPECT_EQ(FirstInvalidUtf8("ab\xF0\x9F\x98"), 2u);      // cut off
}

// The example of Unicode 15, table 3-8, and cut-off characters.
TEST(Utf8Test, ReplacesMaximalSubparts) {
  const std::string r = kReplacement;
  EXPECT_EQ(Repair("\x61\xF1\x80\x80\xE1\x80\xC2\x62\x80\x63\x80\xBF\x64"),
            "a" + r + r + r + "b" + r + "c" + r + r + "d");
  EXPECT_EQ(Repair("\xE0\x80\x80"), r + r + r);
  EXPECT_EQ(Repair("x\xF0\x9F\x98"), "x" + r);
  EXPECT_EQ(Repair("\xED\xA0\x80"), r + r + r);
}

TEST(Utf8Test, CuttingDoesNotChangeTheText) {
  constexpr uint32_t kSeed = 7;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::mt19937 random(kSeed);
  const std::string alphabet = "a\x80\xBF\xC2\xE1\xE2\x82\xAC\xED\xA0\xF0\x9F\x98\x80\xF4\xFF";
  for (int round = 0; round < 5000; ++round) {
    std::string bytes;
    for (uint32_t n = random() % 12; n > 0; --n) bytes += alphabet[random() % alphabet.size()];
    LossyUtf8Decoder decoder;
    std::string text;
    for (size_t at = 0; at < bytes.size();) {
      const size_t length = 1 + random() % 3;
      const std::string delta = decoder.Push(std::string_view(bytes).substr(at, length));
      ASSERT_EQ(FirstInvalidUtf8(delta), std::nullopt);
      ASSERT_LE(decoder.pending(), 3u);
      text += delta;
      at += length;
    }
    ASSERT_EQ(text + decoder.Flush(), Repair(bytes));
  }
}

}  // namespace
}  // namespace baton
