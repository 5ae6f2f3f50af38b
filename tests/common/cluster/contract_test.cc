#include "common/cluster/contract.h"

#include <gtest/gtest.h>

#include <functional>
#include <string>

#include "common/cluster/model_probe.h"

namespace baton {
namespace {

v1::KvContract Contract() {
  v1::KvContract c;
  c.set_protocol_version(kProtocolVersion);
  c.mutable_model()->set_architecture("LlamaForCausalLM");
  c.mutable_model()->set_tokenizer_digest("tok");
  c.mutable_model()->set_source_digest("src");
  c.mutable_model()->set_vocab_size(1000);
  c.mutable_geometry()->set_layers(4);
  c.mutable_geometry()->set_kv_heads(2);
  c.mutable_geometry()->set_head_dim(64);
  c.mutable_geometry()->set_rope_digest("rope");
  c.mutable_producer()->set_weights_digest("w8a8");
  c.mutable_producer()->set_scheme("w8a8");
  c.mutable_producer()->set_kv_format(v1::KV_FORMAT_FP16);
  c.set_resident_format(v1::KV_FORMAT_FP16);
  c.add_wire_formats(v1::KV_FORMAT_INT8);
  c.add_wire_formats(v1::KV_FORMAT_FP16);
  c.set_scale_layout(v1::SCALE_LAYOUT_PER_TOKEN_HEAD);
  c.set_page_tokens(16);
  c.set_tp_size(1);
  return c;
}

TEST(CheckContractsTest, EqualContractsAgreeOnTheDecodeWorkersFirstChoice) {
  const ContractCheck check = CheckContracts(Contract(), Contract());
  EXPECT_TRUE(check.ok());
  EXPECT_EQ(check.wire_format, v1::KV_FORMAT_INT8);
}

TEST(CheckContractsTest, TheWireFormatIsTheFirstThatBothAccept) {
  v1::KvContract prefill = Contract(), decode = Contract();
  prefill.clear_wire_formats();
  prefill.add_wire_formats(v1::KV_FORMAT_FP16);
  EXPECT_EQ(CheckContracts(prefill, decode).wire_format, v1::KV_FORMAT_FP16);
  decode.clear_wire_formats();
  decode.add_wire_formats(v1::KV_FORMAT_INT4);
  const ContractCheck check = CheckContracts(prefill, decode);
  ASSERT_EQ(check.mismatches.size(), 1u);
  EXPECT_EQ(check.wire_format, v1::KV_FORMAT_UNSPECIFIED);
  EXPECT_EQ(Describe(check.mismatches), "wire_formats: prefill [fp16], decode [int4]");
}

v1::ModelProbe Probe(float logprob) {
  v1::ModelProbe probe;
  probe.set_version(kProbeVersion);
  for (int i = 0; i < kProbePositions * kProbeTop; ++i) {
    probe.add_tokens(i % kProbeTop);
    probe.add_logprobs(logprob);
  }
  return probe;
}

TEST(CheckContractsTest, ProbesThatAgreeStandForAnUnknownSource) {
  v1::KvContract prefill = Contract(), decode = Contract();
  prefill.mutable_model()->clear_source_digest();
  *prefill.mutable_model()->mutable_probe() = Probe(-2);
  EXPECT_EQ(Describe(CheckContracts(prefill, decode).mismatches),
            "model.source_digest: prefill (unknown), decode 737263");
  *decode.mutable_model()->mutable_probe() = Probe(-2.25f);
  const ContractCheck agreed = CheckContracts(prefill, decode);
  EXPECT_TRUE(agreed.ok()) << Describe(agreed.mismatches);
  EXPECT_NEAR(*agreed.probe_distance, 0.25, 1e-6);
  decode.mutable_model()->clear_source_digest();
  EXPECT_TRUE(CheckContracts(prefill, decode).ok());
  *decode.mutable_model()->mutable_probe() = Probe(-2.5f);
  EXPECT_EQ(Describe(CheckContracts(prefill, decode).mismatches),
            "model.source_digest: prefill (unknown), decode (unknown); "
            "model.probe: prefill differs by 0.500 nats, decode expected at most 0.4");
  prefill.set_trust_model_identity(true);
  EXPECT_FALSE(CheckContracts(prefill, decode).ok());
  decode.set_trust_model_identity(true);
  EXPECT_TRUE(CheckContracts(prefill, decode).ok());
}

TEST(CheckContractsTest, ProbesDoNotOverruleKnownSources) {
  v1::KvContract prefill = Contract(), decode = Contract();
  *prefill.mutable_model()->mutable_probe() = Probe(-2);
  *decode.mutable_model()->mutable_probe() = Probe(-8);
  EXPECT_TRUE(CheckContracts(prefill, decode).ok());
  EXPECT_NEAR(*CheckContracts(prefill, decode).probe_distance, 6, 1e-6);
  *decode.mutable_model()->mutable_probe() = Probe(-2);
  decode.mutable_model()->set_source_digest("other");
  EXPECT_FALSE(CheckContracts(prefill, decode).ok());
}

TEST(CheckContractsTest, PrecisionResidentFormatPagesAndParallelismAreFree) {
  v1::KvContract decode = Contract();
  decode.mutable_producer()->set_weights_digest("w4a16");
  decode.mutable_producer()->set_scheme("w4a16");
  decode.mutable_producer()->set_kv_format(v1::KV_FORMAT_INT8);
  decode.set_resident_format(v1::KV_FORMAT_INT8);
  decode.set_page_tokens(64);
  decode.set_tp_size(2);
  decode.set_tp_rank(1);
  EXPECT_TRUE(CheckContracts(Contract(), decode).ok());
}

struct FieldCase {
  const char* field;
  std::function<void(v1::KvContract&)> change;
  const char* left;
  const char* right;
};

class CheckContractsFieldTest : public ::testing::TestWithParam<FieldCase> {};

TEST_P(CheckContractsFieldTest, AnyOtherDifferenceIsNamedWithBothValues) {
  v1::KvContract decode = Contract();
  GetParam().change(decode);
  const ContractCheck check = CheckContracts(Contract(), decode);
  ASSERT_EQ(check.mismatches.size(), 1u) << Describe(check.mismatches);
  EXPECT_EQ(check.mismatches[0].field(), GetParam().field);
  EXPECT_EQ(check.mismatches[0].left(), GetParam().left);
  EXPECT_EQ(check.mismatches[0].right(), GetParam().right);
}

INSTANTIATE_TEST_SUITE_P(
    Fields, CheckContractsFieldTest,
    ::testing::Values(
        FieldCase{"protocol_version", [](auto& c) { c.set_protocol_version(2); }, "1", "2"},
        FieldCase{"model.architecture", [](auto& c) { c.mutable_model()->set_architecture("X"); },
                  "'LlamaForCausalLM'", "'X'"},
        FieldCase{"model.tokenizer_digest",
                  [](auto& c) { c.mutable_model()->set_tokenizer_digest("t"); }, "746f6b", "74"},
        FieldCase{"model.source_digest", [](auto& c) { c.mutable_model()->set_source_digest("s"); },
                  "737263", "73"},
        FieldCase{"model.vocab_size", [](auto& c) { c.mutable_model()->set_vocab_size(9); }, "1000",
                  "9"},
        FieldCase{"geometry.layers", [](auto& c) { c.mutable_geometry()->set_layers(5); }, "4",
                  "5"},
        FieldCase{"geometry.kv_heads", [](auto& c) { c.mutable_geometry()->set_kv_heads(1); }, "2",
                  "1"},
        FieldCase{"geometry.head_dim", [](auto& c) { c.mutable_geometry()->set_head_dim(32); },
                  "64", "32"},
        FieldCase{"geometry.rope_digest",
                  [](auto& c) { c.mutable_geometry()->set_rope_digest("r"); }, "726f7065", "72"},
        FieldCase{"geometry.sliding_windows",
                  [](auto& c) { c.mutable_geometry()->add_sliding_windows(8); }, "[]", "[8]"},
        FieldCase{"scale_layout", [](auto& c) { c.set_scale_layout(v1::SCALE_LAYOUT_UNSPECIFIED); },
                  "1", "0"}));

TEST(CheckContractsTest, WindowsOfZeroAreNoWindows) {
  v1::KvContract decode = Contract();
  for (int i = 0; i < 4; ++i) decode.mutable_geometry()->add_sliding_windows(0);
  EXPECT_TRUE(CheckContracts(Contract(), decode).ok());
}

TEST(CheckContractsTest, AnUnknownSourcePassesOnlyWhenItsOwnOperatorVouches) {
  v1::KvContract prefill = Contract(), decode = Contract();
  decode.mutable_model()->clear_source_digest();
  EXPECT_FALSE(CheckContracts(prefill, decode).ok());
  prefill.set_trust_model_identity(true);
  EXPECT_FALSE(CheckContracts(prefill, decode).ok());
  decode.set_trust_model_identity(true);
  EXPECT_TRUE(CheckContracts(prefill, decode).ok());
}

TEST(CheckContractsTest, TrustDoesNotHideAContradiction) {
  v1::KvContract prefill = Contract(), decode = Contract();
  prefill.set_trust_model_identity(true);
  decode.set_trust_model_identity(true);
  decode.mutable_model()->set_source_digest("other");
  EXPECT_FALSE(CheckContracts(prefill, decode).ok());
}

TEST(CheckContractsTest, AllMismatchesAreListed) {
  v1::KvContract decode = Contract();
  decode.mutable_geometry()->set_layers(9);
  decode.mutable_model()->set_vocab_size(9);
  decode.clear_wire_formats();
  EXPECT_EQ(CheckContracts(Contract(), decode).mismatches.size(), 3u);
}

}  // namespace
}  // namespace baton
