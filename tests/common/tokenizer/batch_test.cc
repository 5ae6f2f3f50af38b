#include "common/tokenizer/batch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <sstream>
#include <string>
#include <vector>

#include "tests/common/tokenizer/small_tokenizer.h"

namespace baton {
namespace {

using ::testing::HasSubstr;

TEST(BatchTest, AnswersEveryLineInOrder) {
  const auto tokenizer = Tokenizer::Parse(SmallTokenizerJson().dump());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  std::istringstream input(
      "{\"text\": \"hello\"}\n"
      "{\"text\": 1}\n"
      "not JSON\n"
      "{\"text\": \"\\u0000<end>\"}\n"
      "{\"token_ids\": [259, 255]}\n"
      "{\"token_ids\": [261]}\n"
      "{\"token_ids\": [-1]}\n"
      "{\"token_ids\": [{}]}");
  std::ostringstream output;
  ASSERT_TRUE(TranslateJsonLines(**tokenizer, {}, {}, input, output).ok());
  std::istringstream lines(output.str());
  std::vector<std::string> answers;
  for (std::string line; std::getline(lines, line);) answers.push_back(line);
  ASSERT_EQ(answers.size(), 8u);
  EXPECT_EQ(answers[0], "{\"token_ids\":[259]}");
  EXPECT_THAT(answers[1], HasSubstr("text: 1, expected a string"));
  EXPECT_THAT(answers[2], HasSubstr("not well-formed JSON"));
  EXPECT_EQ(answers[3], "{\"token_ids\":[0,260]}");
  EXPECT_EQ(answers[4], "{\"text\":\"hello\\ufffd\"}");
  EXPECT_THAT(answers[5], HasSubstr("token id: 261"));
  EXPECT_THAT(answers[6], HasSubstr("token_ids[0]: -1"));
  EXPECT_THAT(answers[7], HasSubstr("token_ids[0]: object, expected an integer"));
}

TEST(BatchTest, ReportsABrokenOutput) {
  const auto tokenizer = Tokenizer::Parse(SmallTokenizerJson().dump());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  std::istringstream input("{\"text\": \"hello\"}\n");
  std::ostringstream output;
  output.setstate(std::ios::badbit);
  EXPECT_EQ(TranslateJsonLines(**tokenizer, {}, {}, input, output).code(),
            absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace baton
