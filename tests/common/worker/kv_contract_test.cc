#include "common/worker/kv_contract.h"

#include <gtest/gtest.h>

#include "common/cluster/contract.h"
#include "common/model/architecture.h"

namespace baton {
namespace {

ModelConfig Model() {
  ModelConfig model;
  model.architecture = FindArchitecture("LlamaForCausalLM");
  model.vocab_size = 100;
  model.layers = 3;
  model.kv_heads = 2;
  model.head_dim = 16;
  return model;
}

KvPages Pages(kernels::KvFormat format, int page_tokens) {
  return {{3, 2, 16}, {format, format}, page_tokens, 10};
}

constexpr Digest kSource{1, 2};
constexpr Digest kTokenizer{3, 4};
constexpr ModelDigests kDigests{.weights = kSource, .source = kSource, .tokenizer = kTokenizer};

TEST(KvContractTest, WorkersOfOneModelMayPair) {
  WorkerOptions prefill, decode;
  prefill.weights = WeightFormat::kW8A8;
  decode.weights = WeightFormat::kW4A16;
  const auto p = MakeKvContract(Model(), Pages(kernels::KvFormat::kFp16, 16), prefill, kDigests);
  const auto d = MakeKvContract(Model(), Pages(kernels::KvFormat::kInt8, 64), decode, kDigests);
  const ContractCheck check = CheckContracts(p, d);
  EXPECT_TRUE(check.ok()) << Describe(check.mismatches);
  EXPECT_EQ(check.wire_format, v1::KV_FORMAT_INT8);  // resident at the receiver
  EXPECT_NE(p.producer().weights_digest(), d.producer().weights_digest());
}

TEST(KvContractTest, OtherModelsOrTokenizersMayNot) {
  const WorkerOptions options;
  const auto pages = Pages(kernels::KvFormat::kFp16, 16);
  const auto base = MakeKvContract(Model(), pages, options, kDigests);
  EXPECT_FALSE(CheckContracts(
                   base, MakeKvContract(
                             Model(), pages, options,
                             {.weights = {9, 2}, .source = Digest{9, 2}, .tokenizer = kTokenizer}))
                   .ok());
  EXPECT_FALSE(
      CheckContracts(base,
                     MakeKvContract(Model(), pages, options,
                                    {.weights = kSource, .source = kSource, .tokenizer = {3, 9}}))
          .ok());
  ModelConfig other = Model();
  other.rope.theta = 500000;
  EXPECT_FALSE(CheckContracts(base, MakeKvContract(other, pages, options, kDigests)).ok());
  other = Model();
  other.sliding_window = 8;
  EXPECT_FALSE(CheckContracts(base, MakeKvContract(other, pages, options, kDigests)).ok());
}

TEST(KvContractTest, AQuantizedModelGoesByItsSource) {
  WorkerOptions options;
  const auto pages = Pages(kernels::KvFormat::kFp16, 16);
  const auto base = MakeKvContract(Model(), pages, options, kDigests);
  const auto quantized = MakeKvContract(
      Model(), pages, options, {.weights = {7, 7}, .source = kSource, .tokenizer = kTokenizer});
  EXPECT_TRUE(CheckContracts(base, quantized).ok());
  EXPECT_NE(base.producer().weights_digest(), quantized.producer().weights_digest());
  // Without a record it is a stranger, unless its owner vouches for it.
  const ModelDigests unknown{.weights = {7, 7}, .source = std::nullopt, .tokenizer = kTokenizer};
  EXPECT_FALSE(CheckContracts(base, MakeKvContract(Model(), pages, options, unknown)).ok());
  options.trust_model_identity = true;
  EXPECT_TRUE(CheckContracts(base, MakeKvContract(Model(), pages, options, unknown)).ok());
}

TEST(KvContractTest, AskedForWireFormatIsTheOnlyOne) {
  WorkerOptions options;
  options.wire_format = kernels::KvFormats{kernels::KvFormat::kInt8, kernels::KvFormat::kInt4};
  const auto contract =
      MakeKvContract(Model(), Pages(kernels::KvFormat::kFp16, 16), options, kDigests);
  ASSERT_EQ(contract.wire_formats_size(), 1);
  EXPECT_EQ(contract.wire_formats(0), v1::KV_FORMAT_K8V4);
}

}  // namespace
}  // namespace baton
