#include "common/tokenizer/streaming_detokenizer.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <random>
#include <string>
#include <vector>

#include "common/tokenizer/utf8.h"

namespace baton {
namespace {

class StreamingDetokenizerTest : public ::testing::Test {
 protected:
  void SetUp() override {
    auto tokenizer = Tokenizer::Load(std::filesystem::path(BATON_TINY_MODEL) / "tokenizer.json");
    ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
    tokenizer_ = *std::move(tokenizer);
  }

  std::vector<int32_t> Encode(std::string_view text) const {
    return *tokenizer_->Encode(text, {.add_special_tokens = false});
  }

  std::unique_ptr<Tokenizer> tokenizer_;
};

TEST_F(StreamingDetokenizerTest, WaitsForTheWholeCharacter) {
  const auto ids = Encode("\U0001F600!");
  ASSERT_GT(ids.size(), 2u);
  StreamingDetokenizer stream(*tokenizer_);
  for (size_t i = 0; i + 2 < ids.size(); ++i) EXPECT_EQ(*stream.Push(ids[i]), "");
  EXPECT_EQ(*stream.Push(ids[ids.size() - 2]), "\U0001F600");
  EXPECT_EQ(*stream.Push(ids.back()), "!");
  EXPECT_EQ(stream.Flush(), "");
}

TEST_F(StreamingDetokenizerTest, ReplacesABrokenCharacter) {
  const auto ids = Encode("\U0001F600");
  const auto letter = Encode("a");
  StreamingDetokenizer stream(*tokenizer_);
  EXPECT_EQ(*stream.Push(ids[0]), "");
  EXPECT_EQ(*stream.Push(letter[0]), "\uFFFDa");
  EXPECT_EQ(*stream.Push(ids[0]), "");
  EXPECT_EQ(stream.Flush(), "\uFFFD");
  EXPECT_EQ(stream.Flush(), "");
}

TEST_F(StreamingDetokenizerTest, SkipsSpecialTokensOnRequest) {
  StreamingDetokenizer stream(*tokenizer_, {.skip_special_tokens = true});
  EXPECT_EQ(*stream.Push(4095), "");
  StreamingDetokenizer verbose(*tokenizer_);
  EXPECT_EQ(*verbose.Push(4095), "<|eot_id|>");
}

TEST_F(StreamingDetokenizerTest, RefusesWhatIsNoToken) {
  StreamingDetokenizer stream(*tokenizer_);
  EXPECT_EQ(stream.Push(4096).status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_EQ(stream.Push(-1).status().code(), absl::StatusCode::kInvalidArgument);
}

// Random ids cut characters anywhere: the deltas are valid and add up to the text in one piece.
TEST_F(StreamingDetokenizerTest, AddsUpToTheWholeText) {
  constexpr uint32_t kSeed = 5;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::mt19937 random(kSeed);
  for (int round = 0; round < 2000; ++round) {
    const bool skip = random() % 2 == 0;
    std::vector<int32_t> ids;
    // Half of the ids are single bytes, so that many sequences are cut or ill-formed.
    for (uint32_t n = random() % 20; n > 0; --n) {
      ids.push_back(static_cast<int32_t>(random() % (random() % 2 == 0 ? 256 : 4096)));
    }
    StreamingDetokenizer stream(*tokenizer_, {.skip_special_tokens = skip});
    std::string text;
    for (const int32_t id : ids) {
      const auto delta = stream.Push(id);
      ASSERT_TRUE(delta.ok());
      ASSERT_EQ(FirstInvalidUtf8(*delta), std::nullopt);
      text += *delta;
    }
    text += stream.Flush();
    ASSERT_EQ(text, *tokenizer_->Decode(ids, {.skip_special_tokens = skip}));
  }
}

}  // namespace
}  // namespace baton
