#include "router/validation.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <string>

#include "common/base/status.h"
#include "tests/router/fake_codec.h"

namespace baton {
namespace {

using absl::StatusCode;

v1::GenerateRequest Request() {
  v1::GenerateRequest r;
  r.mutable_token_ids()->add_ids(1);
  r.mutable_token_ids()->add_ids(2);
  r.set_max_tokens(4);
  return r;
}

absl::StatusOr<RequestSpec> Validate(const v1::GenerateRequest& request,
                                     const TextCodec* codec = nullptr) {
  const ModelInfo model{.name = "m", .vocab_size = 256, .max_context = 64};
  std::mt19937_64 rng(1);
  return ValidateRequest(request, model, codec, GenerateLimits{}, rng);
}

TEST(ValidateRequestTest, DefaultsAreFilledIn) {
  v1::GenerateRequest request = Request();
  request.clear_max_tokens();
  const auto spec = Validate(request);
  ASSERT_TRUE(spec.ok()) << spec.status();
  const v1::SamplingParams& sampling = spec->worker.sampling();
  EXPECT_EQ(sampling.temperature(), 1.0f);
  EXPECT_EQ(sampling.top_p(), 1.0f);
  EXPECT_EQ(sampling.top_k(), 0u);
  EXPECT_EQ(sampling.min_p(), 0.0f);
  EXPECT_EQ(sampling.max_tokens(), 16u);
  EXPECT_FALSE(sampling.want_logprobs());
  EXPECT_EQ(spec->worker.request_id().size(), 32u);
  EXPECT_EQ(spec->worker.prompt_size(), 2);
  EXPECT_TRUE(spec->skip_special_tokens);
}

TEST(ValidateRequestTest, GivenValuesPassThrough) {
  v1::GenerateRequest request = Request();
  request.set_request_id("mine");
  request.set_model("m");
  request.set_temperature(0);
  request.set_seed(0);
  request.set_logprobs(0);
  request.set_n(1);
  request.set_repetition_penalty(1.25f);
  request.set_presence_penalty(0.5f);
  request.set_frequency_penalty(-2);
  (*request.mutable_logit_bias())[255] = -100;
  request.add_stop_token_ids(255);
  request.set_tenant("t");
  const auto spec = Validate(request);
  ASSERT_TRUE(spec.ok()) << spec.status();
  EXPECT_EQ(spec->worker.request_id(), "mine");
  EXPECT_EQ(spec->worker.tenant(), "t");
  EXPECT_EQ(spec->worker.sampling().temperature(), 0.0f);
  EXPECT_EQ(spec->worker.sampling().seed(), 0u);
  EXPECT_EQ(spec->worker.sampling().repetition_penalty(), 1.25f);
  EXPECT_EQ(spec->worker.sampling().presence_penalty(), 0.5f);
  EXPECT_EQ(spec->worker.sampling().frequency_penalty(), -2.0f);
  EXPECT_EQ(spec->worker.sampling().logit_bias().at(255), -100.0f);
  EXPECT_TRUE(spec->worker.sampling().want_logprobs());
  EXPECT_EQ(spec->worker.sampling().stop_token_ids(0), 255);
}

TEST(ValidateRequestTest, SeedsAreDrawnWhereAbsent) {
  const ModelInfo model{.name = "m", .vocab_size = 256, .max_context = 64};
  std::mt19937_64 rng(1);
  const auto a = ValidateRequest(Request(), model, nullptr, GenerateLimits{}, rng);
  const auto b = ValidateRequest(Request(), model, nullptr, GenerateLimits{}, rng);
  EXPECT_NE(a->worker.sampling().seed(), b->worker.sampling().seed());
  EXPECT_NE(a->worker.request_id(), b->worker.request_id());
}

TEST(ValidateRequestTest, TextIsEncodedWithOrWithoutSpecialTokens) {
  const FakeCodec codec;
  v1::GenerateRequest request = Request();
  request.set_text("ab");
  EXPECT_EQ(Validate(request, &codec)->worker.prompt_size(), 3);
  request.set_add_special_tokens(false);
  EXPECT_EQ(Validate(request, &codec)->worker.prompt_size(), 2);
}

TEST(ValidateRequestTest, TheWholeContextMayBeUsed) {
  v1::GenerateRequest request = Request();
  request.set_max_tokens(62);
  EXPECT_TRUE(Validate(request).ok());
  request.set_max_tokens(std::numeric_limits<uint32_t>::max());
  EXPECT_EQ(Validate(request).status().code(), StatusCode::kInvalidArgument);
}

struct BadCase {
  StatusCode code;
  const char* message;  // start of it
  std::function<void(v1::GenerateRequest&)> change;
};
class BadRequestTest : public ::testing::TestWithParam<BadCase> {};

TEST_P(BadRequestTest, IsRefusedByFieldValueAndExpectation) {
  const FakeCodec codec;
  v1::GenerateRequest request = Request();
  GetParam().change(request);
  const absl::Status status = Validate(request, &codec).status();
  EXPECT_EQ(status.code(), GetParam().code) << status;
  EXPECT_EQ(MessageOf(status).rfind(GetParam().message, 0), 0u) << status;
  EXPECT_NE(MessageOf(status).find("expected"), std::string_view::npos) << status;
}

constexpr auto kInvalid = StatusCode::kInvalidArgument;
constexpr auto kNotBuilt = StatusCode::kUnimplemented;

INSTANTIATE_TEST_SUITE_P(
    Fields, BadRequestTest,
    ::testing::Values(
        BadCase{StatusCode::kNotFound, "model: 'x', expected 'm'",
                [](auto& r) { r.set_model("x"); }},
        BadCase{kInvalid, "request_id:", [](auto& r) { r.set_request_id(std::string(129, 'a')); }},
        BadCase{kInvalid, "request_id:", [](auto& r) { r.set_request_id("a b"); }},
        BadCase{kInvalid, "tenant:", [](auto& r) { r.set_tenant(std::string(129, 'a')); }},
        BadCase{kInvalid, "tenant:", [](auto& r) { r.set_tenant("\xff"); }},
        BadCase{kInvalid, "prompt: not set", [](auto& r) { r.clear_prompt(); }},
        BadCase{kInvalid, "prompt: 0 tokens", [](auto& r) { r.mutable_token_ids()->clear_ids(); }},
        BadCase{kInvalid, "token_ids[1]: -1, expected 0 to 255",
                [](auto& r) { r.mutable_token_ids()->set_ids(1, -1); }},
        BadCase{kInvalid, "token_ids[0]: 256",
                [](auto& r) { r.mutable_token_ids()->set_ids(0, 256); }},
        BadCase{kInvalid, "text: byte 1 is not UTF-8", [](auto& r) { r.set_text("a\xc3(") ; }},
        BadCase{kInvalid, "max_tokens: 0", [](auto& r) { r.set_max_tokens(0); }},
        BadCase{kInvalid, "max_tokens: 63 after a prompt of 2 tokens",
                [](auto& r) { r.set_max_tokens(63); }},
        BadCase{kInvalid, "temperature: -1", [](auto& r) { r.set_temperature(-1); }},
        BadCase{kInvalid, "temperature: nan", [](auto& r) { r.set_temperature(NAN); }},
        BadCase{kInvalid, "temperature: inf", [](auto& r) { r.set_temperature(INFINITY); }},
        BadCase{kInvalid, "top_p: 0", [](auto& r) { r.set_top_p(0); }},
        BadCase{kInvalid, "top_p: 1.5", [](auto& r) { r.set_top_p(1.5f); }},
        BadCase{kInvalid, "top_p: nan", [](auto& r) { r.set_top_p(NAN); }},
        BadCase{kInvalid, "min_p: -0.5", [](auto& r) { r.set_min_p(-0.5f); }},
        BadCase{kInvalid, "min_p: 2", [](auto& r) { r.set_min_p(2); }},
        BadCase{kInvalid, "top_k: 4294967295", [](auto& r) { r.set_top_k(0xFFFFFFFF); }},
        BadCase{kInvalid, "logprobs: 21", [](auto& r) { r.set_logprobs(21); }},
        BadCase{kInvalid, "stop[0]: 0 bytes", [](auto& r) { r.add_stop(""); }},
        BadCase{kInvalid, "stop[0]: 257 bytes", [](auto& r) { r.add_stop(std::string(257, 'a')); }},
        BadCase{kInvalid, "stop[0]: byte 0 is not UTF-8", [](auto& r) { r.add_stop("\xff"); }},
        BadCase{kInvalid, "stop: 17 strings",
                [](auto& r) {
                  for (int i = 0; i < 17; ++i) r.add_stop("a");
                }},
        BadCase{kInvalid, "stop_token_ids[0]: 256", [](auto& r) { r.add_stop_token_ids(256); }},
        BadCase{kInvalid, "stop_token_ids: 257 entries",
                [](auto& r) {
                  for (int i = 0; i < 257; ++i) r.add_stop_token_ids(1);
                }},
        BadCase{kNotBuilt, "n: 2, expected 1", [](auto& r) { r.set_n(2); }},
        BadCase{kNotBuilt, "n: 0, expected 1", [](auto& r) { r.set_n(0); }},
        BadCase{kInvalid, "presence_penalty: 2.5, expected -2 to 2",
                [](auto& r) { r.set_presence_penalty(2.5f); }},
        BadCase{kInvalid, "frequency_penalty: nan", [](auto& r) { r.set_frequency_penalty(NAN); }},
        BadCase{kInvalid, "frequency_penalty: -3", [](auto& r) { r.set_frequency_penalty(-3); }},
        BadCase{kInvalid, "repetition_penalty: 0", [](auto& r) { r.set_repetition_penalty(0); }},
        BadCase{kInvalid, "repetition_penalty: inf",
                [](auto& r) { r.set_repetition_penalty(INFINITY); }},
        BadCase{kInvalid, "logit_bias: token 256, expected 0 to 255",
                [](auto& r) { (*r.mutable_logit_bias())[256] = 1; }},
        BadCase{kInvalid, "logit_bias: token -1",
                [](auto& r) { (*r.mutable_logit_bias())[-1] = 1; }},
        BadCase{kInvalid, "logit_bias[3]: 101, expected -100 to 100",
                [](auto& r) { (*r.mutable_logit_bias())[3] = 101; }},
        BadCase{kNotBuilt, "echo: true", [](auto& r) { r.set_echo(true); }}));

TEST(ValidateRequestTest, TooManyBiases) {
  v1::GenerateRequest request = Request();
  for (int token = 0; token <= 1024; ++token) (*request.mutable_logit_bias())[token] = 1;
  EXPECT_EQ(MessageOf(Validate(request).status()),
            "logit_bias: 1025 entries, expected at most 1024");
}

TEST(ValidateRequestTest, WithoutATokenizerTextAndStopStringsAreRefused) {
  v1::GenerateRequest request = Request();
  request.add_stop("a");
  EXPECT_EQ(Validate(request).status().code(), StatusCode::kFailedPrecondition);
  request.clear_stop();
  request.set_text("a");
  EXPECT_EQ(Validate(request).status().code(), StatusCode::kFailedPrecondition);
}

}  // namespace
}  // namespace baton
