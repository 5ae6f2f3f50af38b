#include "common/tokenizer/tokenizer_json.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <random>
#include <string>
#include <vector>

#include "common/base/status.h"
#include "common/tokenizer/tokenizer.h"
#include "tests/common/tokenizer/small_tokenizer.h"

namespace baton {
namespace {

using nlohmann::json;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

// Sets the value at a JSON pointer of the small tokenizer and loads the result.
absl::StatusOr<std::unique_ptr<Tokenizer>> LoadWith(const std::string& pointer, const json& value) {
  json document = SmallTokenizerJson();
  document[json::json_pointer(pointer)] = value;
  return Tokenizer::Parse(document.dump());
}

std::string ErrorWith(const std::string& pointer, const json& value) {
  const auto tokenizer = LoadWith(pointer, value);
  return tokenizer.ok() ? "OK" : ToString(tokenizer.status());
}

TEST(TokenizerJsonTest, LoadsTheSmallTokenizer) {
  const auto tokenizer = Tokenizer::Parse(SmallTokenizerJson().dump());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT(*(*tokenizer)->Encode("hello hell<end>h"), ElementsAre(259, ' ', 258, 260, 'h'));
}

TEST(TokenizerJsonTest, TakesMergesAsPairsAndFilesWithoutType) {
  json document = SmallTokenizerJson();
  document["model"].erase("type");
  document["model"]["merges"] = json::parse(R"([["h","e"],["l","l"],["he","ll"],["hell","o"]])");
  const auto tokenizer = Tokenizer::Parse(document.dump());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT(*(*tokenizer)->Encode("hello"), ElementsAre(259));
}

TEST(TokenizerJsonTest, AddsThePrefixSpace) {
  const auto tokenizer = LoadWith("/pre_tokenizer/add_prefix_space", true);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT(*(*tokenizer)->Encode("he<end>he"), ElementsAre(' ', 256, 260, ' ', 256));
  EXPECT_THAT(*(*tokenizer)->Encode(" he"), ElementsAre(' ', 256));
  EXPECT_THAT(*(*tokenizer)->Encode(""), ElementsAre());
}

TEST(TokenizerJsonTest, LooksForNormalizedTokensInNormalizedText) {
  json document = SmallTokenizerJson();
  document["normalizer"] = {{"type", "Sequence"}, {"normalizers", {{{"type", "NFC"}}}}};
  document["added_tokens"].push_back(
      {{"id", 261}, {"content", "x\u0301\u0323"}, {"normalized", true}, {"special", false}});
  const auto tokenizer = Tokenizer::Parse(document.dump());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  const std::vector<int32_t> ids = {'a', 261, 0xC3, 0xA9};
  EXPECT_EQ(*(*tokenizer)->Encode("ax\u0301\u0323e\u0301"), ids);
  EXPECT_EQ(*(*tokenizer)->Encode("ax\u0323\u0301\u00e9"), ids);
  EXPECT_EQ(*(*tokenizer)->Decode(ids), "ax\u0323\u0301\u00e9");
}

TEST(TokenizerJsonTest, AppliesTheTemplate) {
  const json processor = json::parse(R"({"type": "Sequence", "processors": [
      {"type": "ByteLevel"},
      {"type": "TemplateProcessing",
       "single": [{"SpecialToken": {"id": "B", "type_id": 0}}, {"Sequence": {"id": "A"}},
                  {"SpecialToken": {"id": "E", "type_id": 0}}],
       "special_tokens": {"B": {"id": "B", "ids": [260, 1], "tokens": []},
                          "E": {"id": "E", "ids": [2], "tokens": []}}}]})");
  const auto tokenizer = LoadWith("/post_processor", processor);
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  EXPECT_THAT(*(*tokenizer)->Encode("he"), ElementsAre(260, 1, 256, 2));
  EXPECT_THAT(*(*tokenizer)->Encode("he", {.add_special_tokens = false}), ElementsAre(256));

  json unknown_id = processor;
  unknown_id["processors"][1]["special_tokens"]["B"]["ids"] = {261};
  EXPECT_THAT(ErrorWith("/post_processor", unknown_id), HasSubstr("id 261"));
  json no_token = processor;
  no_token["processors"][1]["special_tokens"].erase("E");
  EXPECT_THAT(ErrorWith("/post_processor", no_token), HasSubstr("special_tokens.E.ids"));
  json no_sequence = processor;
  no_sequence["processors"][1]["single"].erase(1);
  EXPECT_THAT(ErrorWith("/post_processor", no_sequence), HasSubstr("no Sequence"));
}

struct Refusal {
  const char* pointer;
  json value;
  const char* message;
};

class TokenizerJsonRefusalTest : public ::testing::TestWithParam<Refusal> {};

TEST_P(TokenizerJsonRefusalTest, NamesTheField) {
  const Refusal& refusal = GetParam();
  EXPECT_THAT(ErrorWith(refusal.pointer, refusal.value), HasSubstr(refusal.message));
}

// What another kind of tokenizer has: UNIMPLEMENTED and its name.
INSTANTIATE_TEST_SUITE_P(
    NotBuilt, TokenizerJsonRefusalTest,
    ::testing::Values(
        Refusal{"/model/type", "Unigram", "UNIMPLEMENTED: model.type: 'Unigram'"},
        Refusal{"/model/type", "WordPiece", "UNIMPLEMENTED: model.type: 'WordPiece'"},
        Refusal{"/model/byte_fallback", true, "UNIMPLEMENTED: model.byte_fallback"},
        Refusal{"/model/dropout", 0.1, "UNIMPLEMENTED: model.dropout"},
        Refusal{"/model/end_of_word_suffix", "</w>", "UNIMPLEMENTED: model.end_of_word_suffix"},
        Refusal{"/normalizer", {{"type", "NFKC"}}, "UNIMPLEMENTED: normalizer: 'NFKC'"},
        Refusal{"/normalizer",
                {{"type", "Sequence"}, {"normalizers", {{{"type", "Lowercase"}}}}},
                "UNIMPLEMENTED: normalizer.normalizers[0]: 'Lowercase'"},
        Refusal{"/pre_tokenizer", nullptr, "UNIMPLEMENTED: pre_tokenizer: 'null'"},
        Refusal{"/pre_tokenizer", {{"type", "Metaspace"}}, "'Metaspace' is not built"},
        Refusal{"/pre_tokenizer/use_regex", false, "UNIMPLEMENTED: pre_tokenizer"},
        Refusal{"/pre_tokenizer",
                {{"type", "Split"}, {"behavior", "Isolated"}, {"pattern", {{"Regex", "\\w+"}}}},
                "UNIMPLEMENTED: pre_tokenizer.pattern.Regex: '\\w+'"},
        Refusal{"/post_processor", {{"type", "BertProcessing"}}, "'BertProcessing' is not built"},
        Refusal{"/decoder", {{"type", "WordPiece"}}, "UNIMPLEMENTED: decoder: 'WordPiece'"},
        Refusal{"/decoder", nullptr, "UNIMPLEMENTED: decoder: 'null'"}));

// What no tokenizer has: INVALID_ARGUMENT, field, value, expectation.
INSTANTIATE_TEST_SUITE_P(
    Malformed, TokenizerJsonRefusalTest,
    ::testing::Values(
        Refusal{"/model", 3, "INVALID_ARGUMENT: model: 3, expected an object"},
        Refusal{"/model/vocab", json::array(), "model.vocab: array, expected an object"},
        Refusal{"/model/vocab", json::object(), "is not in model.vocab"},
        Refusal{"/model/vocab/he", "256", "model.vocab['he']: \"256\", expected an integer"},
        Refusal{"/model/vocab/he", -1, "model.vocab['he']: -1, expected an integer from 0"},
        Refusal{"/model/vocab/he", 1.5, "model.vocab['he']: 1.5"},
        Refusal{"/model/vocab/he", 18446744073709551615u, "model.vocab['he']: 184467440737"},
        Refusal{"/model/vocab/he", 1 << 21, "expected an integer from 0 to 2097151"},
        Refusal{"/model/vocab/he", 257, "both have id 257"},
        Refusal{"/model/merges", nullptr, "model.merges: null, expected an array"},
        Refusal{"/model/merges/0", 7, "model.merges[0]: expected a string or a pair"},
        Refusal{"/model/merges/0", "he", "model.merges[0]: 'he', expected two tokens"},
        Refusal{"/model/merges/0", "h e l", "model.merges[0]: 'h e l', expected two tokens"},
        Refusal{"/model/merges/0", {"h"}, "model.merges[0]: expected a string or a pair"},
        Refusal{"/model/merges/1", {"h", 1}, "model.merges[1][1]: 1, expected a string"},
        Refusal{"/model/merges/1", "x y", "model.merges[1]: 'xy' is not in model.vocab"},
        Refusal{"/model/merges/1", "xx y", "model.merges[1]: 'xx' is not in model.vocab"},
        Refusal{"/model/ignore_merges", 1, "model.ignore_merges: 1, expected true or false"},
        Refusal{"/added_tokens", 1, "added_tokens: 1, expected an array"},
        Refusal{"/added_tokens/0", 1, "added_tokens[0]: 1, expected an object"},
        Refusal{"/added_tokens/0/id", 1u << 31, "added_tokens[0].id: 2147483648"},
        Refusal{"/added_tokens/0/id", 5, "'<end>' has id 5 of"},
        Refusal{"/added_tokens/0/content", "", "added_tokens[0].content: 0 bytes"},
        Refusal{"/added_tokens/0/content", "hell", "'hell' has id 260, expected 258"},
        Refusal{"/added_tokens/0/content", std::string(1025, 'x'), "1025 bytes, expected 1 to"},
        Refusal{"/added_tokens/0/special", "yes", "added_tokens[0].special: \"yes\""},
        Refusal{"/normalizer", "NFC", "normalizer: \"NFC\", expected an object"},
        Refusal{"/normalizer", {{"type", 1}}, "normalizer.type: 1, expected a string"}));

TEST(TokenizerJsonTest, RefusesWhatIsNoJson) {
  for (const std::string text : {"", "{", "null", "[]", "\"text\"", "{\"model\": \"\xff\"}",
                                 "{} {}", "{\"model\": 1e999}"}) {
    EXPECT_EQ(Tokenizer::Parse(text).status().code(), absl::StatusCode::kInvalidArgument) << text;
  }
}

TEST(TokenizerJsonTest, RefusesDeepJson) {
  const std::string deep = std::string(1000000, '[');
  EXPECT_THAT(ToString(Tokenizer::Parse(deep).status()), HasSubstr("nested 1000000 deep"));
  EXPECT_EQ(ErrorWith("/added_tokens/0/content", std::string(100, '[')), "OK");
  EXPECT_EQ(ErrorWith("/added_tokens/0/content", "\\\"" + std::string(100, '[')), "OK");
}

// Whatever a damaged file holds, it is refused or gives a tokenizer that works.
TEST(TokenizerJsonTest, SurvivesDamage) {
  constexpr uint32_t kSeed = 3;
  SCOPED_TRACE(testing::Message() << "seed " << kSeed);
  std::mt19937 random(kSeed);
  const std::string intact = SmallTokenizerJson().dump();
  const std::string alphabet = "{}[]\",:0129-.etrufalsn\\ \x80\xff";
  for (int round = 0; round < 2000; ++round) {
    std::string damaged = intact;
    for (uint32_t n = 1 + random() % 3; n > 0; --n) {
      damaged[random() % damaged.size()] = alphabet[random() % alphabet.size()];
    }
    const auto tokenizer = Tokenizer::Parse(damaged);
    if (!tokenizer.ok()) continue;
    const auto ids = (*tokenizer)->Encode("hello <end> hell");
    ASSERT_TRUE(ids.ok());
    EXPECT_TRUE((*tokenizer)->Decode(*ids).ok());
  }
}

TEST(TokenizerJsonTest, EveryTruncationIsRefused) {
  const std::string text = SmallTokenizerJson().dump();
  for (size_t length = 0; length < text.size(); length += 7) {
    EXPECT_FALSE(Tokenizer::Parse(std::string_view(text).substr(0, length)).ok());
  }
}

}  // namespace
}  // namespace baton
