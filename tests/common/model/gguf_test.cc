// GGUF files that lie, and metadata that is not what we run.
#include "common/model/gguf.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <cstring>

#include "common/base/status.h"
#include "common/model/gguf_model.h"
#include "common/model/mapped_file.h"
#include "common/model/model_config.h"

namespace baton {
namespace {

using ::testing::HasSubstr;

// Writes files of any content, from the format's description.
class Builder {
 public:
  Builder(uint64_t tensors, uint64_t keys, uint32_t version = 3) {
    bytes_ = "GGUF";
    Put(version).Put(tensors).Put(keys);
  }
  template <typename T>
  Builder& Put(T value) {
    bytes_.append(reinterpret_cast<const char*>(&value), sizeof(value));
    return *this;
  }
  Builder& Text(std::string_view text) {
    Put(uint64_t{text.size()});
    bytes_ += text;
    return *this;
  }
  Builder& Key(std::string_view name, uint32_t value) {
    return Text(name).Put(uint32_t{4}).Put(value);
  }
  Builder& Tensor(std::string_view name, std::vector<uint64_t> dims, uint32_t type,
                  uint64_t offset) {
    Text(name).Put(static_cast<uint32_t>(dims.size()));
    for (const uint64_t dim : dims) Put(dim);
    return Put(type).Put(offset);
  }
  Builder& Data(size_t size) {
    bytes_.resize((bytes_.size() + 31) / 32 * 32 + size);
    return *this;
  }
  std::string Error() const {
    // An allocation of the exact size: a sanitizer sees each byte beyond.
    const std::vector<char> copy(bytes_.begin(), bytes_.end());
    const auto content = ParseGguf(std::as_bytes(std::span(copy)), "x.gguf");
    return ToString(content.status());
  }
  std::string_view bytes() const { return bytes_; }

 private:
  std::string bytes_;
};

TEST(Gguf, EveryPrefixOfAFileIsRefused) {
  Builder file(1, 2);
  file.Key("a", 1).Text("b").Put(uint32_t{9}).Put(uint32_t{8}).Put(uint64_t{1}).Text("text");
  file.Tensor("t", {4, 2}, 0, 0).Data(32);
  ASSERT_EQ(file.Error(), "OK");
  for (size_t size = 0; size < file.bytes().size(); ++size) {
    const std::vector<char> prefix(file.bytes().begin(), file.bytes().begin() + size);
    EXPECT_FALSE(ParseGguf(std::as_bytes(std::span(prefix)), "x").ok()) << size;
  }
}

TEST(Gguf, CountsAndStringsAreChecked) {
  EXPECT_THAT(Builder(0, 0, 1).Error(), HasSubstr("version 1, expected 2 or 3"));
  EXPECT_THAT(Builder(0, 0, 0x03000000).Error(), HasSubstr("little-endian"));
  EXPECT_THAT(Builder(~0ull, 0).Error(), HasSubstr("18446744073709551615 tensors"));
  EXPECT_THAT(Builder(0, 1 << 20).Error(), HasSubstr("1048576 keys"));
  EXPECT_THAT(Builder(0, 1).Put(~0ull).Error(), HasSubstr("string of 18446744073709551615 bytes"));
  EXPECT_THAT(Builder(0, 2).Key("a", 1).Key("a", 2).Error(), HasSubstr("key 'a' is given twice"));
  EXPECT_THAT(Builder(0, 1).Text("a").Put(uint32_t{13}).Error(), HasSubstr("value of type 13"));
  const auto array = [](uint32_t type, uint64_t count) {
    return Builder(0, 1).Text("a").Put(uint32_t{9}).Put(type).Put(count).Error();
  };
  EXPECT_THAT(array(9, 1), HasSubstr("array of type 9"));
  EXPECT_THAT(array(13, 1), HasSubstr("array of type 13"));
  EXPECT_THAT(array(4, 1), HasSubstr("array of 1 elements, expected at most 0"));
  EXPECT_THAT(array(8, ~0ull), HasSubstr("expected at most 0"));
  EXPECT_THAT(Builder(0, 1).Key("general.alignment", 24).Error(), HasSubstr("a power of two"));
  EXPECT_THAT(Builder(0, 1).Key("general.alignment", 0).Error(), HasSubstr("alignment: 0"));
  EXPECT_THAT(Builder(0, 1).Key("split.count", 2).Error(), HasSubstr("split.count: 2"));
}

TEST(Gguf, TensorsAreChecked) {
  const auto error = [](std::vector<uint64_t> dims, uint32_t type, uint64_t offset) {
    return Builder(1, 0).Tensor("t", std::move(dims), type, offset).Data(128).Error();
  };
  EXPECT_EQ(error({4, 8}, 0, 0), "OK");
  EXPECT_THAT(error({}, 0, 0), HasSubstr("0 dimensions, expected 1 to 4"));
  EXPECT_THAT(error({1, 1, 1, 1, 1}, 0, 0), HasSubstr("5 dimensions"));
  EXPECT_THAT(error({0, 8}, 0, 0), HasSubstr("dimension 0 of 0"));
  EXPECT_THAT(error({1ull << 40, 1ull << 40}, 0, 0), HasSubstr("dimension 1"));
  EXPECT_THAT(error({~0ull, 2}, 0, 0), HasSubstr("dimension 0"));
  EXPECT_THAT(error({4, 8}, 10, 0), HasSubstr("'t': type 10, expected one of F32, F16, Q4_0"));
  EXPECT_THAT(error({4, 8}, 2, 0), HasSubstr("rows of 4 values, expected a multiple of 32"));
  EXPECT_THAT(error({4, 8}, 0, 4), HasSubstr("offset 4, expected a multiple of 32"));
  EXPECT_THAT(error({4, 8}, 0, 32), HasSubstr("bytes 32 to 160 of the data"));
  EXPECT_THAT(error({4, 8}, 0, ~31ull), HasSubstr("offset 18446744073709551584"));
  EXPECT_THAT(error({4, 1ull << 50}, 0, 0), HasSubstr("expected them in a file"));
  EXPECT_THAT(Builder(2, 0).Tensor("a", {8}, 0, 0).Tensor("a", {8}, 0, 32).Data(64).Error(),
              HasSubstr("tensor 'a' is given twice"));
  EXPECT_THAT(Builder(2, 0).Tensor("a", {16}, 0, 0).Tensor("b", {8}, 0, 32).Data(128).Error(),
              HasSubstr("tensor 'b': bytes 32 to 64 of the data, expected between 64 and 128"));
}

// The fixture's content, with metadata that a test changes.
class GgufMetadata : public ::testing::Test {
 protected:
  GgufMetadata()
      : file_(*MappedFile::Open(std::string(BATON_MODEL_FIXTURES) + "/llama.gguf")),
        content_(*ParseGguf(file_.bytes(), "x")) {}

  std::string ConfigError(const nlohmann::json& patch) const {
    GgufContent content = content_;
    content.metadata.update(patch);
    const auto json = GgufConfigJson(content, "x.gguf");
    if (!json.ok()) return ToString(json.status());
    return ToString(ParseModelConfig(*json, std::nullopt).status());
  }
  std::string TokenizerError(const nlohmann::json& patch) const {
    GgufContent content = content_;
    content.metadata.update(patch);
    return ToString(GgufTokenizerJson(content, "x.gguf").status());
  }

  MappedFile file_;
  GgufContent content_;
};

TEST_F(GgufMetadata, ConfigurationIsChecked) {
  EXPECT_EQ(ConfigError(nlohmann::json::object()), "OK");
  EXPECT_THAT(ConfigError({{"general.architecture", "mamba"}}),
              HasSubstr("general.architecture: 'mamba', expected llama, qwen2 or qwen3"));
  EXPECT_THAT(ConfigError({{"general.architecture", 3}}), HasSubstr("architecture: 3"));
  EXPECT_THAT(ConfigError({{"llama.block_count", nullptr}}),
              HasSubstr("llama.block_count: missing"));
  EXPECT_THAT(ConfigError({{"llama.block_count", 0}}), HasSubstr("num_hidden_layers: 0"));
  EXPECT_THAT(ConfigError({{"llama.attention.head_count", -2}}), HasSubstr("heads: -2"));
  EXPECT_THAT(ConfigError({{"llama.expert_count", 8}}), HasSubstr("expert_count: 8"));
  EXPECT_THAT(ConfigError({{"llama.attention.value_length", 32}}), HasSubstr("value_length: 32"));
  EXPECT_THAT(ConfigError({{"llama.rope.dimension_count", 8}}), HasSubstr("dimension_count: 8"));
  EXPECT_THAT(ConfigError({{"llama.rope.scaling.type", "yarn"}}), HasSubstr("'yarn'"));
  EXPECT_THAT(ConfigError({{"llama.rope.freq_base", "x"}}), HasSubstr("rope_theta"));
  EXPECT_THAT(ConfigError({{"tokenizer.ggml.eos_token_id", 264}}), HasSubstr("eos_token_id"));
  EXPECT_EQ(ConfigError({{"llama.attention.sliding_window", 16}}), "OK");
}

// Only the factors of Llama 3's scaling are in the file.
TEST_F(GgufMetadata, ScalingIsRecognizedByItsFactors) {
  RopeConfig plain;
  plain.theta = 50000;
  RopeConfig scaled = plain;
  scaled.scaling = RopeScaling::kLlama3;
  scaled.factor = 32;
  scaled.original_max_positions = 8192;
  const std::vector<float> before = InverseFrequencies(plain, 16);
  const std::vector<float> after = InverseFrequencies(scaled, 16);
  std::vector<float> factors(8);
  for (size_t i = 0; i < factors.size(); ++i) factors[i] = before[i] / after[i];
  ASSERT_EQ(factors.back(), 32);
  content_.tensors.push_back({.name = "rope_freqs.weight",
                              .shape = {8},
                              .type = FindGgufType("F32"),
                              .bytes = std::as_bytes(std::span(factors))});
  const auto json = GgufConfigJson(content_, "x");
  ASSERT_TRUE(json.ok()) << ToString(json.status());
  const RopeConfig found = ParseModelConfig(*json, std::nullopt)->rope;
  EXPECT_EQ(found.scaling, RopeScaling::kLlama3);
  EXPECT_EQ(found.factor, 32);
  factors[3] *= 1.01f;
  EXPECT_THAT(ConfigError(nlohmann::json::object()),
              HasSubstr("of pair 3, expected those of Llama 3"));
  factors[3] = NAN;
  EXPECT_THAT(ConfigError(nlohmann::json::object()), HasSubstr("expected those of Llama 3"));
}

TEST_F(GgufMetadata, TokenizerIsChecked) {
  EXPECT_EQ(TokenizerError(nlohmann::json::object()), "OK");
  EXPECT_THAT(TokenizerError({{"tokenizer.ggml.model", "llama"}}),
              HasSubstr("tokenizer.ggml.model: 'llama', expected gpt2"));
  EXPECT_THAT(TokenizerError({{"tokenizer.ggml.pre", "tekken"}}), HasSubstr("'tekken'"));
  EXPECT_THAT(TokenizerError({{"tokenizer.ggml.bos_token_id", 264}}),
              HasSubstr("bos_token_id: 264"));
  EXPECT_THAT(TokenizerError({{"tokenizer.ggml.add_bos_token", 1}}), HasSubstr("add_bos_token: 1"));
  content_.integer_arrays.begin()->second.pop_back();
  EXPECT_THAT(TokenizerError(nlohmann::json::object()),
              HasSubstr("token_type: 263 elements, expected 264"));
  content_.integer_arrays.clear();
  content_.string_arrays.find("tokenizer.ggml.tokens")->second[257] = "th";
  EXPECT_THAT(TokenizerError(nlohmann::json::object()),
              HasSubstr("token 257 is the same as token 256"));
  content_.string_arrays.clear();
  EXPECT_THAT(TokenizerError(nlohmann::json::object()),
              HasSubstr("tokenizer.ggml.tokens: missing"));
}

TEST(GgufNames, AreThoseOfHuggingFace) {
  EXPECT_EQ(HuggingFaceName("token_embd.weight"), "model.embed_tokens.weight");
  EXPECT_EQ(HuggingFaceName("blk.12.attn_q.bias"), "model.layers.12.self_attn.q_proj.bias");
  for (const char* other : {"", "blk", "blk.", "blk.weight", "blk.x.attn_q.weight",
                            "blk.-1.attn_q.weight", "blk.1attn_q.weight", "blk.1.ssm.weight",
                            "blk.99999999999.attn_q.weight", "rope_freqs.weight"}) {
    EXPECT_EQ(HuggingFaceName(other), std::nullopt) << other;
  }
}

}  // namespace
}  // namespace baton
