#include "common/tokenizer/bpe_model.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <string>

#include "common/base/status.h"
#include "common/tokenizer/byte_level.h"

namespace baton {
namespace {

using ::testing::ElementsAre;

TokenizerSpec Bytes() {
  TokenizerSpec spec;
  for (int byte = 0; byte < 256; ++byte) {
    spec.vocabulary.emplace_back(SpellByte(static_cast<uint8_t>(byte)), byte);
  }
  return spec;
}

void AddMerge(TokenizerSpec& spec, const std::string& left, const std::string& right) {
  spec.vocabulary.emplace_back(left + right, static_cast<int32_t>(spec.vocabulary.size()));
  spec.merges.emplace_back(left, right);
}

TEST(BpeModelTest, JoinsByPriorityThenFromTheLeft) {
  TokenizerSpec spec = Bytes();
  AddMerge(spec, "b", "c");   // 256
  AddMerge(spec, "a", "b");   // 257
  AddMerge(spec, "a", "a");   // 258
  AddMerge(spec, "a", "bc");  // 259
  const auto model = BpeModel::Create(spec);
  ASSERT_TRUE(model.ok()) << model.status();
  EXPECT_THAT(model->EncodeWord(""), ElementsAre());
  EXPECT_THAT(model->EncodeWord("ab"), ElementsAre(257));
  EXPECT_THAT(model->EncodeWord("abc"), ElementsAre(259));
  EXPECT_THAT(model->EncodeWord("aaa"), ElementsAre(258, 'a'));
  EXPECT_THAT(model->EncodeWord(std::string("a\0\xff", 3)), ElementsAre('a', 0, 255));
}

TEST(BpeModelTest, IgnoresMergesForWholeTokensOnly) {
  TokenizerSpec spec = Bytes();
  spec.vocabulary.emplace_back("xyz", 256);  // no merge leads here
  EXPECT_THAT(BpeModel::Create(spec)->EncodeWord("xyz"), ElementsAre('x', 'y', 'z'));
  spec.ignore_merges = true;
  EXPECT_THAT(BpeModel::Create(spec)->EncodeWord("xyz"), ElementsAre(256));
  EXPECT_THAT(BpeModel::Create(spec)->EncodeWord("xyzx"), ElementsAre('x', 'y', 'z', 'x'));
}

TEST(BpeModelTest, RefusesAVocabularyWithoutAByte) {
  TokenizerSpec spec = Bytes();
  spec.vocabulary.erase(spec.vocabulary.begin() + 7);
  EXPECT_THAT(ToString(BpeModel::Create(spec).status()), ::testing::HasSubstr("byte[7]"));
}

// Joins the best pair, leftmost first, scanning everything each time.
std::vector<int32_t> NaiveEncode(const TokenizerSpec& spec, const std::string& word) {
  std::map<std::string, int32_t> ids(spec.vocabulary.begin(), spec.vocabulary.end());
  std::vector<std::string> parts;
  for (const char c : word) parts.emplace_back(1, c);
  const auto rank_at = [&](size_t i) {
    for (size_t rank = 0; rank < spec.merges.size(); ++rank) {
      if (spec.merges[rank] == std::pair(parts[i], parts[i + 1])) return rank;
    }
    return spec.merges.size();
  };
  while (true) {
    size_t best = spec.merges.size();
    size_t at = 0;
    for (size_t i = 0; i + 1 < parts.size(); ++i) {
      if (const size_t rank = rank_at(i); rank < best) best = rank, at = i;
    }
    if (best == spec.merges.size()) break;
    parts[at] += parts[at + 1];
    parts.erase(parts.begin() + static_cast<std::ptrdiff_t>(at) + 1);
  }
  std::vector<int32_t> result;
  for (const auto& part : parts) result.push_back(ids.at(part));
  return result;
}

TEST(BpeModelTest, AgreesWithANaiveSearch) {
  constexpr uint32_t kSeed = 11;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::mt19937 random(kSeed);
  for (int round = 0; round < 100; ++round) {
    TokenizerSpec spec = Bytes();
    std::vector<std::string> tokens = {"a", "b", "c"};
    for (int n = 0; n < 12; ++n) {
      const std::string left = tokens[random() % tokens.size()];
      const std::string right = tokens[random() % tokens.size()];
      const bool known = std::find(tokens.begin(), tokens.end(), left + right) != tokens.end();
      if (known || left.size() + right.size() > 8) continue;
      AddMerge(spec, left, right);
      tokens.push_back(left + right);
    }
    const auto model = BpeModel::Create(spec);
    ASSERT_TRUE(model.ok()) << model.status();
    for (int n = 0; n < 50; ++n) {
      std::string word;
      for (uint32_t length = 1 + random() % 30; length > 0; --length) word += "abc"[random() % 3];
      ASSERT_EQ(model->EncodeWord(word), NaiveEncode(spec, word)) << word;
    }
  }
}

}  // namespace
}  // namespace baton
