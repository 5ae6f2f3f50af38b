#include "common/engine/request.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <limits>
#include <string>

#include "common/base/status.h"

namespace baton {
namespace {

using ::testing::HasSubstr;

const RequestLimits kLimits{.vocab_size = 100, .max_context = 32, .eos_token_ids = {7}};

v1::WorkerRequest Valid() {
  v1::WorkerRequest request;
  request.set_request_id("r");
  for (int token : {1, 2, 3}) request.add_prompt(token);
  request.mutable_sampling()->set_temperature(0.5f);
  request.mutable_sampling()->set_top_p(1);
  request.mutable_sampling()->set_max_tokens(4);
  request.mutable_sampling()->add_stop_token_ids(9);
  request.set_tenant("t");
  return request;
}

TEST(ParseRequestTest, TakesEveryField) {
  v1::WorkerRequest proto = Valid();
  proto.mutable_sampling()->set_top_k(5);
  proto.mutable_sampling()->set_min_p(0.25f);
  proto.mutable_sampling()->set_seed(11);
  proto.mutable_sampling()->set_logprobs(3);
  proto.mutable_sampling()->set_want_logprobs(true);
  proto.mutable_sampling()->set_ignore_eos(true);
  proto.mutable_sampling()->set_presence_penalty(1.5f);
  proto.mutable_sampling()->set_frequency_penalty(-0.5f);
  proto.mutable_sampling()->set_repetition_penalty(1.1f);
  (*proto.mutable_sampling()->mutable_logit_bias())[99] = -7;
  const auto request = ParseRequest(proto, kLimits);
  ASSERT_TRUE(request.ok()) << ToString(request.status());
  EXPECT_EQ(request->id, RequestId("r"));
  EXPECT_EQ(request->prompt, (std::vector<int32_t>{1, 2, 3}));
  EXPECT_EQ(request->tenant, "t");
  EXPECT_EQ(request->sampling.temperature, 0.5f);
  EXPECT_EQ(request->sampling.top_k, 5);
  EXPECT_EQ(request->sampling.min_p, 0.25f);
  EXPECT_EQ(request->sampling.seed, 11u);
  EXPECT_EQ(request->sampling.top_logprobs, 3);
  EXPECT_TRUE(request->sampling.want_logprob);
  EXPECT_EQ(request->sampling.presence_penalty, 1.5f);
  EXPECT_EQ(request->sampling.frequency_penalty, -0.5f);
  EXPECT_EQ(request->sampling.repetition_penalty, 1.1f);
  ASSERT_EQ(request->sampling.logit_bias->size(), 1u);
  EXPECT_EQ(request->sampling.logit_bias->front().token, 99);
  EXPECT_EQ(request->sampling.logit_bias->front().bias, -7.0f);
  EXPECT_TRUE(request->stop.ignore_eos);
  EXPECT_EQ(request->stop.stop_token_ids, (std::vector<int32_t>{9}));
  EXPECT_EQ(request->stop.eos_token_ids, (std::vector<int32_t>{7}));
  EXPECT_EQ(request->max_positions(), 7);
}

TEST(ParseRequestTest, WithoutPenaltiesNothingIsCounted) {
  const auto request = ParseRequest(Valid(), kLimits);
  EXPECT_FALSE(request->sampling.penalizes());
  EXPECT_EQ(request->sampling.logit_bias, nullptr);
}

TEST(ParseRequestTest, TopKBeyondTheVocabularyIsOff) {
  v1::WorkerRequest proto = Valid();
  proto.mutable_sampling()->set_top_k(std::numeric_limits<uint32_t>::max());
  EXPECT_EQ(ParseRequest(proto, kLimits)->sampling.top_k, 0);
}

TEST(ParseRequestTest, RefusalsNameTheField) {
  const auto refused = [](const std::string& field, auto change) {
    v1::WorkerRequest proto = Valid();
    change(proto, *proto.mutable_sampling());
    const auto request = ParseRequest(proto, kLimits);
    ASSERT_FALSE(request.ok()) << field;
    EXPECT_EQ(request.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_THAT(std::string(MessageOf(request.status())), HasSubstr(field));
  };
  using R = v1::WorkerRequest;
  using S = v1::SamplingParams;
  refused("prompt", [](R& r, S&) { r.clear_prompt(); });
  refused("prompt[1]", [](R& r, S&) { r.set_prompt(1, 100); });
  refused("prompt[0]", [](R& r, S&) { r.set_prompt(0, -1); });
  refused("temperature", [](R&, S& s) { s.set_temperature(-0.1f); });
  refused("temperature", [](R&, S& s) { s.set_temperature(std::nanf("")); });
  refused("temperature", [](R&, S& s) { s.set_temperature(INFINITY); });
  refused("top_p", [](R&, S& s) { s.set_top_p(0); });
  refused("top_p", [](R&, S& s) { s.set_top_p(1.5f); });
  refused("top_p", [](R&, S& s) { s.set_top_p(std::nanf("")); });
  refused("min_p", [](R&, S& s) { s.set_min_p(-1); });
  refused("min_p", [](R&, S& s) { s.set_min_p(std::nanf("")); });
  refused("logprobs", [](R&, S& s) { s.set_logprobs(21); });
  refused("stop_token_ids[1]", [](R&, S& s) { s.add_stop_token_ids(100); });
  refused("stop_token_ids", [](R&, S& s) {
    for (int i = 0; i < 300; ++i) s.add_stop_token_ids(1);
  });
  refused("max_tokens", [](R&, S& s) { s.set_max_tokens(0); });
  refused("presence_penalty", [](R&, S& s) { s.set_presence_penalty(std::nanf("")); });
  refused("frequency_penalty", [](R&, S& s) { s.set_frequency_penalty(2.1f); });
  refused("repetition_penalty", [](R&, S& s) { s.set_repetition_penalty(0); });
  refused("logit_bias: token 100", [](R&, S& s) { (*s.mutable_logit_bias())[100] = 1; });
  refused("logit_bias[5]", [](R&, S& s) { (*s.mutable_logit_bias())[5] = -101; });
  refused("logit_bias: 1025", [](R&, S& s) {
    for (int i = 0; i < 1025; ++i) (*s.mutable_logit_bias())[i] = 1;
  });
  refused("max_tokens", [](R&, S& s) { s.set_max_tokens(30); });
  refused("max_tokens", [](R&, S& s) { s.set_max_tokens(std::numeric_limits<uint32_t>::max()); });
}

TEST(CheckStopTest, EosStopTokensAndLength) {
  StopConditions stop{.eos_token_ids = {7, 8}, .stop_token_ids = {9}, .max_tokens = 3};
  EXPECT_FALSE(CheckStop(stop, 1, 1));
  EXPECT_EQ(CheckStop(stop, 8, 1)->reason, v1::FINISH_REASON_STOP);
  EXPECT_EQ(CheckStop(stop, 8, 1)->matched_stop_token, 8);
  EXPECT_EQ(CheckStop(stop, 9, 3)->reason, v1::FINISH_REASON_STOP);
  EXPECT_EQ(CheckStop(stop, 1, 3)->reason, v1::FINISH_REASON_LENGTH);
  EXPECT_FALSE(CheckStop(stop, 1, 3)->matched_stop_token);
  stop.ignore_eos = true;
  EXPECT_FALSE(CheckStop(stop, 8, 1));
  EXPECT_EQ(CheckStop(stop, 9, 1)->reason, v1::FINISH_REASON_STOP);
}

TEST(ReportLogprobsTest, OnlyWhenAskedFor) {
  SampledToken sampled{5, -0.5f, {{5, -0.5f}, {6, -1.5f}}};
  SamplingParams sampling;
  EXPECT_FALSE(ReportLogprobs(sampling, sampled));
  sampling.want_logprob = true;
  const auto report = ReportLogprobs(sampling, sampled);
  ASSERT_TRUE(report);
  EXPECT_EQ(report->chosen(), -0.5f);
  ASSERT_EQ(report->top_size(), 2);
  EXPECT_EQ(report->top(1).token_id(), 6);
}

}  // namespace
}  // namespace baton
