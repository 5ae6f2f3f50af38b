#include "common/tokenizer/tokenizer.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "common/tokenizer/utf8.h"

namespace baton {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

const std::filesystem::path kTiny = std::filesystem::path(BATON_TINY_MODEL) / "tokenizer.json";

class TokenizerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto tokenizer = Tokenizer::Load(kTiny);
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = *std::move(tokenizer);
  }
  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(TokenizerTest, EqualsEveryReferenceCase) {
  const auto path = std::filesystem::path(BATON_SHARED_DIR) / "models/tokenizer_cases.json";
  if (!std::filesystem::exists(path)) GTEST_SKIP() << "no reference cases at " << path;
  std::ifstream file(path);
  const auto cases = nlohmann::json::parse(file);
  ASSERT_GT(cases.size(), 10u);
  for (const auto& c : cases) {
    const auto text = c.at("text").get<std::string>();
    const auto ids = tokenizer_->Encode(text);
    ASSERT_TRUE(ids.ok()) << ids.status();
    EXPECT_EQ(*ids, c.at("ids").get<std::vector<int32_t>>()) << text;
  }
}

// Ids of the reference for the shipped tokenizer, so that the essentials hold without shared data.
TEST_F(TokenizerTest, EncodesTheShippedVocabulary) {
  EXPECT_THAT(*tokenizer_->Encode("Hello, world!"), ElementsAre(4091, 39, 464, 78, 11, 982, 0));
  EXPECT_THAT(*tokenizer_->Encode("Hello", {.add_special_tokens = false}),
              ElementsAre(39, 464, 78));
  EXPECT_THAT(*tokenizer_->Encode("<|begin_of_text|>special<|eot_id|>"),
              ElementsAre(4091, 4091, 82, 390, 1706, 4095));
  EXPECT_THAT(*tokenizer_->Encode(""), ElementsAre(4091));
  EXPECT_THAT(*tokenizer_->Encode("", {.add_special_tokens = false}), ElementsAre());
}

TEST_F(TokenizerTest, DecodesWithAndWithoutSpecialTokens) {
  const std::vector<int32_t> ids = {4091, 39, 464, 78, 4095};
  EXPECT_EQ(*tokenizer_->Decode(ids), "<|begin_of_text|>Hello<|eot_id|>");
  EXPECT_EQ(*tokenizer_->Decode(ids, {.skip_special_tokens = true}), "Hello");
}

TEST_F(TokenizerTest, DescribesTokens) {
  EXPECT_EQ(tokenizer_->vocab_size(), 4096);
  EXPECT_EQ(*tokenizer_->TokenText(4091), "<|begin_of_text|>");
  EXPECT_EQ(tokenizer_->TokenId("<|eot_id|>"), 4095);
  EXPECT_EQ(tokenizer_->TokenId("no such token"), std::nullopt);
  EXPECT_EQ(*tokenizer_->TokenText(220), "\u0120");
  EXPECT_EQ(*tokenizer_->TokenBytes(220), " ");
  EXPECT_TRUE(tokenizer_->is_special(4095));
  EXPECT_FALSE(tokenizer_->is_special(220));
  EXPECT_FALSE(tokenizer_->is_special(-1));
  EXPECT_FALSE(tokenizer_->is_token(4096));
  EXPECT_EQ(tokenizer_->digest().size(), 64u);
}

TEST_F(TokenizerTest, RefusesIdsOutsideTheVocabulary) {
  for (const int32_t id : {-1, 4096, 1 << 30}) {
    const auto text = tokenizer_->Decode(std::vector<int32_t>{220, id});
    EXPECT_EQ(text.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(ToString(text.status()), HasSubstr(std::to_string(id)));
    EXPECT_FALSE(tokenizer_->TokenText(id).ok());
    EXPECT_FALSE(tokenizer_->TokenBytes(id).ok());
  }
}

TEST_F(TokenizerTest, RefusesIllFormedTextAndNamesTheOffset) {
  for (const std::string bad : {"abc\xff", "abc\xe2\x82", "abc\xed\xa0\x80", "abc\xc0\x80"}) {
    const auto ids = tokenizer_->Encode(bad);
    EXPECT_EQ(ids.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(ToString(ids.status()), HasSubstr("byte 3"));
  }
}

TEST_F(TokenizerTest, RefusesTextAboveTheLimit) {
  auto small = Tokenizer::Load(kTiny, {.max_input_bytes = 4});
  ASSERT_TRUE(small.ok());
  EXPECT_TRUE((*small)->Encode("1234").ok());
  EXPECT_EQ((*small)->Encode("12345").status().code(), absl::StatusCode::kInvalidArgument);
}

// Random text of every length class of UTF-8, white space and punctuation decodes to itself.
TEST_F(TokenizerTest, RoundTrips) {
  constexpr uint32_t kSeed = 20240607;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::mt19937 random(kSeed);
  const std::vector<std::string> parts = {"a",          "Zz",     " ",      "  ",     "\n",
                                          "\r\n",       "'s",     "'LL",    "123",    "1",
                                          "\u00e9",     "\u017f", "\u4e2d", "\u0301", "\u00a0",
                                          "\U0001F600", "!?",     "\t",     "\u2028", "<|eot_id|>"};
  for (int round = 0; round < 2000; ++round) {
    std::string text;
    for (uint32_t n = random() % 30; n > 0; --n) text += parts[random() % parts.size()];
    const auto ids = tokenizer_->Encode(text, {.add_special_tokens = false});
    ASSERT_TRUE(ids.ok());
    EXPECT_EQ(*tokenizer_->Decode(*ids), text);
  }
}

// A quadratic merge would take hours here.
TEST_F(TokenizerTest, EncodesOneMebibyteOfOneCharacter) {
  for (const std::string unit : {"a", " ", "\n", "1", "!", "'", "\u4e2d", "<|"}) {
    std::string text;
    while (text.size() < (size_t{1} << 20)) text += unit;
    const auto ids = tokenizer_->Encode(text, {.add_special_tokens = false});
    ASSERT_TRUE(ids.ok());
    EXPECT_EQ(*tokenizer_->Decode(*ids), text);
  }
}

TEST(TokenizerLoadTest, NamesTheMissingFile) {
  const auto tokenizer = Tokenizer::Load("no/such/tokenizer.json");
  EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kNotFound);
  EXPECT_THAT(ToString(tokenizer.status()), HasSubstr("no/such/tokenizer.json"));
  EXPECT_EQ(Tokenizer::Load(BATON_TINY_MODEL).status().code(), absl::StatusCode::kNotFound);
}

TEST(TokenizerLoadTest, RefusesAFileAboveTheLimit) {
  const auto tokenizer = Tokenizer::Load(kTiny, {.max_file_bytes = 1000});
  EXPECT_EQ(tokenizer.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(ToString(tokenizer.status()), HasSubstr("1000"));
}

}  // namespace
}  // namespace baton
