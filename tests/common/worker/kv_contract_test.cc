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

TEST(KvContractTest, WorkersOfOneModelMayPair) {
  WorkerOptions prefill, decode;
  prefill.weights = WeightFormat::kW8A8;
  decode.weights = WeightFormat::kW4A16;
  const auto p =
      MakeKvContract(Model(), Pages(kernels::KvFormat::kFp16, 16), prefill, {1, 2}, {3, 4});
  const auto d =
      MakeKvContract(Model(), Pages(kernels::KvFormat::kInt8, 64), decode, {1, 2}, {3, 4});
  const ContractCheck check = CheckContracts(p, d);
  EXPECT_TRUE(check.ok()) << Describe(check.mismatches);
  EXPECT_EQ(check.wire_format, v1::KV_FORMAT_INT8);  // resident at the receiver
  EXPECT_NE(p.producer().weights_digest(), d.producer().weights_digest());
}

TEST(KvContractTest, OtherModelsOrTokenizersMayNot) {
  const WorkerOptions options;
  const auto pages = Pages(kernels::KvFormat::kFp16, 16);
  const auto base = MakeKvContract(Model(), pages, options, {1, 2}, {3, 4});
  EXPECT_FALSE(CheckContracts(base, MakeKvContract(Model(), pages, options, {9, 2}, {3, 4})).ok());
  EXPECT_FALSE(CheckContracts(base, MakeKvContract(Model(), pages, options, {1, 2}, {3, 9})).ok());
  ModelConfig other = Model();
  other.rope.theta = 500000;
  EXPECT_FALSE(CheckContracts(base, MakeKvContract(other, pages, options, {1, 2}, {3, 4})).ok());
  other = Model();
  other.sliding_window = 8;
  EXPECT_FALSE(CheckContracts(base, MakeKvContract(other, pages, options, {1, 2}, {3, 4})).ok());
}

TEST(KvContractTest, AskedForWireFormatIsTheOnlyOne) {
  WorkerOptions options;
  options.wire_format = kernels::KvFormats{kernels::KvFormat::kInt8, kernels::KvFormat::kInt4};
  const auto contract =
      MakeKvContract(Model(), Pages(kernels::KvFormat::kFp16, 16), options, {1, 2}, {3, 4});
  ASSERT_EQ(contract.wire_formats_size(), 1);
  EXPECT_EQ(contract.wire_formats(0), v1::KV_FORMAT_K8V4);
}

}  // namespace
}  // namespace baton
