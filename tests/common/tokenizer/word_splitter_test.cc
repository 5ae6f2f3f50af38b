#include "common/tokenizer/word_splitter.h"

#include <gtest/gtest.h>

#include <string>

namespace baton {
namespace {

// The words with "|" between them.
std::string Cut(SplitPattern pattern, std::string_view text) {
  std::string words;
  WordSplitter splitter(pattern, text);
  while (const auto word = splitter.Next()) {
    if (!words.empty()) words += '|';
    words += *word;
  }
  return words;
}

std::string Llama3(std::string_view text) { return Cut(SplitPattern::kLlama3, text); }
std::string Qwen2(std::string_view text) { return Cut(SplitPattern::kQwen2, text); }
std::string Gpt2(std::string_view text) { return Cut(SplitPattern::kGpt2, text); }

TEST(WordSplitterTest, RecognizesTheExactPatternOnly) {
  for (const auto pattern : {SplitPattern::kGpt2, SplitPattern::kLlama3, SplitPattern::kQwen2}) {
    EXPECT_EQ(FindSplitPattern(RegexOf(pattern)), pattern);
    EXPECT_EQ(FindSplitPattern(std::string(RegexOf(pattern)) + " "), std::nullopt);
  }
  EXPECT_EQ(FindSplitPattern(""), std::nullopt);
}

TEST(WordSplitterTest, Contractions) {
  EXPECT_EQ(Llama3("don't we'LL I'M"), "don|'t| we|'LL| I|'M");
  EXPECT_EQ(Gpt2("don't we'LL we'll"), "don|'t| we|'|LL| we|'ll");
  EXPECT_EQ(Llama3("'\u017fx"), "'\u017f|x");
  EXPECT_EQ(Gpt2("'\u017fx"), "'|\u017fx");
  EXPECT_EQ(Llama3("'R 'l"), "'R| '|l");
  EXPECT_EQ(Llama3("'"), "'");
}

TEST(WordSplitterTest, Numbers) {
  EXPECT_EQ(Llama3("12345 67"), "123|45| |67");
  EXPECT_EQ(Qwen2("123 4"), "1|2|3| |4");
  EXPECT_EQ(Gpt2("12345 67x"), "12345| 67|x");
  EXPECT_EQ(Llama3("\u0663\u00bd\u216b\u4e09"), "\u0663\u00bd\u216b|\u4e09");
}

TEST(WordSplitterTest, WhiteSpaceLeavesItsLastCharacterToTheWord) {
  EXPECT_EQ(Gpt2("a   b"), "a|  | b");
  EXPECT_EQ(Llama3("a   b"), "a|  | b");
  EXPECT_EQ(Llama3("a  1"), "a| | |1");
  EXPECT_EQ(Llama3("a   "), "a|   ");
  EXPECT_EQ(Gpt2("a \n b"), "a| \n| b");
  EXPECT_EQ(Llama3("a \n \r\n  b"), "a| \n \r\n| | b");
  EXPECT_EQ(Llama3("\u00a0\u2003x"), "\u00a0|\u2003x");
  EXPECT_EQ(Gpt2("\u00a0\u2003x"), "\u00a0|\u2003|x");
  EXPECT_EQ(Llama3("\u180e x"), "\u180e| x");  // a format character, no longer white space
}

TEST(WordSplitterTest, PunctuationTakesTheLineEndAndJoinsLetters) {
  EXPECT_EQ(Llama3("a!!\n\nb"), "a|!!\n\n|b");
  EXPECT_EQ(Gpt2("a!!\n\nb"), "a|!!|\n|\n|b");
  EXPECT_EQ(Llama3("(word) $x"), "(word|)| $|x");
  EXPECT_EQ(Gpt2("(word)"), "(|word|)");
  EXPECT_EQ(Llama3("\tword\n\tx"), "\tword|\n|\tx");
  EXPECT_EQ(Llama3(" !a"), " !|a");
}

TEST(WordSplitterTest, CombiningMarksAreNoLetters) {
  EXPECT_EQ(Llama3("e\u0301e"), "e|\u0301e");
  EXPECT_EQ(Gpt2("e\u0301e"), "e|\u0301|e");
}

}  // namespace
}  // namespace baton
