#include "common/calibrate/calibration_text.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "common/base/status.h"

namespace baton {
namespace {

using ::testing::HasSubstr;

class CalibrationText : public ::testing::Test {
 protected:
  void SetUp() override {
    auto tokenizer = Tokenizer::Load(std::filesystem::path(BATON_TINY_MODEL) / "tokenizer.json");
    ASSERT_TRUE(tokenizer.ok());
    tokenizer_ = *std::move(tokenizer);
  }
  std::filesystem::path Write(const std::string& name, const std::string& content) {
    const std::filesystem::path path = std::filesystem::path(testing::TempDir()) / name;
    std::ofstream(path) << content;
    return path;
  }
  std::string MessageFor(const std::filesystem::path& file, int64_t window = 16,
                         int64_t sequences = 8) {
    return std::string(MessageOf(ReadCalibration(file, *tokenizer_, window, sequences).status()));
  }

  std::unique_ptr<Tokenizer> tokenizer_;
};

std::string Line(int i) {
  return "{\"text\": \"Passage number " + std::to_string(i) + " is here.\"}\n";
}

TEST_F(CalibrationText, JoinsTheTextsOfALineFile) {
  std::string content;
  for (int i = 0; i < 40; ++i) content += Line(i) + (i % 5 == 0 ? "\n" : "");
  const auto tokens = ReadCalibration(Write("c.jsonl", content), *tokenizer_, 16, 1000);
  ASSERT_TRUE(tokens.ok()) << ToString(tokens.status());
  const auto first = tokenizer_->Encode("Passage number 0 is here.");
  ASSERT_TRUE(first.ok());
  EXPECT_TRUE(std::equal(first->begin(), first->end(), tokens->tokens.begin()));
  EXPECT_EQ(tokens->tokens.size() % 16, 0u);
  EXPECT_GE(tokens->sequences(), 8);
}

TEST_F(CalibrationText, TakesSequencesFromAllOverTheFile) {
  std::string content;
  for (int i = 0; i < 400; ++i) content += Line(i);
  const auto path = Write("long.jsonl", content);
  const auto all = ReadCalibration(path, *tokenizer_, 16, 1 << 20);
  const auto some = ReadCalibration(path, *tokenizer_, 16, 8);
  ASSERT_TRUE(all.ok() && some.ok());
  EXPECT_EQ(some->sequences(), 8);
  const int64_t last = 7 * all->sequences() / 8 * 16;
  EXPECT_TRUE(
      std::equal(some->tokens.begin() + 7 * 16, some->tokens.end(), all->tokens.begin() + last));
}

TEST_F(CalibrationText, PlainText) {
  std::string content;
  for (int i = 0; i < 100; ++i) content += "A line of plain text. ";
  EXPECT_TRUE(ReadCalibration(Write("c.txt", content), *tokenizer_, 16, 8).ok());
}

TEST_F(CalibrationText, RefusalsNameTheLine) {
  EXPECT_THAT(MessageFor(Write("bad.jsonl", Line(1) + "{\"text\": 5}\n")),
              HasSubstr("bad.jsonl:2"));
  EXPECT_THAT(MessageFor(Write("bad.jsonl", Line(1) + "nonsense\n")), HasSubstr("bad.jsonl:2"));
  EXPECT_THAT(MessageFor(Write("short.jsonl", Line(1))), HasSubstr("expected at least 128"));
  EXPECT_THAT(MessageFor("/nonexistent.jsonl"), HasSubstr("/nonexistent.jsonl"));
  EXPECT_THAT(MessageFor("x", 8), HasSubstr("window: 8"));
  EXPECT_THAT(MessageFor("x", 16, 7), HasSubstr("sequences: 7"));
}

}  // namespace
}  // namespace baton
