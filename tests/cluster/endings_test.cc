// How requests end well: first tokens, stop strings, prefix hits, one token.
#include <gtest/gtest.h>

#include "common/base/status.h"
#include "tests/cluster/cluster.h"

namespace baton {
namespace {

class EndingsTest : public ::testing::Test {
 protected:
  Cluster cluster_{Cluster::Defaults()};

  // The request, changed so that its `index`-th token ends it.
  static v1::GenerateRequest StopAt(v1::GenerateRequest request, size_t index) {
    const ClientCall probe(request, Cluster::Defaults().decode.runner);
    request.add_stop_token_ids(probe.expected()[index]);
    return request;
  }
  void ExpectQuiet() {
    cluster_.Run();
    EXPECT_TRUE(cluster_.idle());
  }
};

TEST_F(EndingsTest, AFirstTokenThatEndsTheRequest) {
  auto call = cluster_.Send(StopAt(Cluster::Request(40, 12), 0));
  cluster_.Run();
  ASSERT_TRUE(call->completed());
  EXPECT_EQ(call->tokens.size(), 1u);
  EXPECT_EQ(call->complete().finish_reason(), v1::FINISH_REASON_STOP);
  EXPECT_EQ(call->complete().matched_stop_token(), call->tokens[0]);
  EXPECT_EQ(call->complete().workers().decode(), "");
  ExpectQuiet();
}

TEST_F(EndingsTest, AFirstTokenThatEndsTheRequestBeforeGrant) {
  cluster_.HoldDecode(true);
  auto call = cluster_.Send(StopAt(Cluster::Request(40, 12), 0));
  cluster_.Run();
  ASSERT_TRUE(call->completed());
  EXPECT_EQ(call->tokens.size(), 1u);
  cluster_.HoldDecode(false);
  ExpectQuiet();
}

TEST_F(EndingsTest, ALaterTokenThatEndsTheRequest) {
  auto call = cluster_.Send(StopAt(Cluster::Request(40, 12), 3));
  cluster_.Run();
  ASSERT_TRUE(call->completed());
  EXPECT_EQ(call->tokens.size(), 4u);
  EXPECT_EQ(call->complete().finish_reason(), v1::FINISH_REASON_STOP);
  ExpectQuiet();
}

TEST_F(EndingsTest, WithOneTokenTheDecodeWorkerIsNotCalled) {
  cluster_.HoldDecode(true);
  auto call = cluster_.Send(Cluster::Request(40, 1));
  cluster_.Run();
  ASSERT_TRUE(call->completed());
  EXPECT_EQ(call->complete().finish_reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_TRUE(cluster_.wires.decode_lanes.Waiting().empty());
  ExpectQuiet();
}

TEST_F(EndingsTest, AStopStringAcrossBothWorkers) {
  v1::GenerateRequest request = Cluster::Request(40, 12);
  const ClientCall probe(request, Cluster::Defaults().decode.runner);
  const std::string first = LetterCodec::TextOf(probe.expected()[0]);
  // The end of the prefill worker's token and the start of the decode worker's.
  request.add_stop(first.substr(1) + "[");
  for (bool before_grant : {false, true}) {
    cluster_.HoldDecode(before_grant);
    auto call = cluster_.Send(request);
    cluster_.Run();
    EXPECT_EQ(call->text, "[");
    cluster_.HoldDecode(false);
    cluster_.Run();
    ASSERT_TRUE(call->completed());
    EXPECT_EQ(call->text, "[");
    EXPECT_EQ(call->complete().matched_stop(), request.stop(0));
    EXPECT_EQ(call->complete().usage().completion_tokens(), 2u);
    ExpectQuiet();
  }
}

TEST_F(EndingsTest, AStopStringInTheFirstToken) {
  for (bool before_grant : {false, true}) {
    v1::GenerateRequest request = Cluster::Request(40, 12);
    request.add_stop("]");
    cluster_.HoldDecode(before_grant);
    auto call = cluster_.Send(request);
    cluster_.Run();
    ASSERT_TRUE(call->completed());
    EXPECT_EQ(call->complete().usage().completion_tokens(), 1u);
    cluster_.HoldDecode(false);
    ExpectQuiet();
  }
}

TEST_F(EndingsTest, AnOpenMayOvertakeTheStart) {
  cluster_.HoldDecode(true);
  auto call = cluster_.Send(Cluster::Request(40, 12));
  cluster_.Run();
  // The prefill worker computed and reported; its Open is parked.
  EXPECT_EQ(call->tokens.size(), 1u);
  EXPECT_EQ(cluster_.d(0).worker().parked_opens(), 1);
  cluster_.HoldDecode(false);
  cluster_.Run();
  ASSERT_TRUE(call->completed());
  EXPECT_EQ(call->tokens, call->expected());
  ExpectQuiet();
}

TEST_F(EndingsTest, APrefixHitOnTheDecodeWorkerSendsLess) {
  auto first = cluster_.Send(Cluster::Request(40, 12));
  cluster_.Run();
  ASSERT_TRUE(first->completed());
  EXPECT_EQ(first->complete().kv().tokens(), 40u);
  EXPECT_EQ(first->complete().usage().cached_tokens(), 0u);
  // Two full pages of 16 are there on both sides.
  auto again = cluster_.Send(Cluster::Request(40, 12));
  cluster_.Run();
  ASSERT_TRUE(again->completed());
  EXPECT_EQ(again->complete().kv().tokens(), 8u);
  EXPECT_EQ(again->complete().usage().cached_tokens(), 32u);
  EXPECT_EQ(again->tokens, first->tokens);
  // A prompt of full pages only: nothing is sent at all.
  auto whole = cluster_.Send(Cluster::Request(32, 12));
  cluster_.Run();
  auto none = cluster_.Send(Cluster::Request(32, 12));
  cluster_.Run();
  ASSERT_TRUE(none->completed());
  EXPECT_EQ(none->complete().kv().slabs(), 0u);
  EXPECT_EQ(none->complete().kv().tokens(), 0u);
  EXPECT_EQ(none->tokens, none->expected());
  ExpectQuiet();
}

TEST_F(EndingsTest, AnotherTenantSharesNothing) {
  auto first = cluster_.Send(Cluster::Request(40, 12));
  cluster_.Run();
  v1::GenerateRequest request = Cluster::Request(40, 12);
  request.set_tenant("other");
  auto other = cluster_.Send(request);
  cluster_.Run();
  ASSERT_TRUE(other->completed());
  EXPECT_EQ(other->complete().kv().tokens(), 40u);
  EXPECT_EQ(other->complete().usage().cached_tokens(), 0u);
}

TEST_F(EndingsTest, ManyAtOnce) {
  std::vector<std::shared_ptr<ClientCall>> calls;
  for (int i = 0; i < 12; ++i) {
    calls.push_back(cluster_.Send(Cluster::Request(5 + 11 * (i % 5), 1 + 3 * (i % 4), i)));
  }
  cluster_.Run();
  for (int i = 0; i < 50 && !cluster_.idle(); ++i) cluster_.Pass(std::chrono::milliseconds(100));
  for (const auto& call : calls) {
    ASSERT_TRUE(call->completed()) << call->request.request_id();
    EXPECT_EQ(call->tokens, call->expected());
  }
  ExpectQuiet();
}

}  // namespace
}  // namespace baton
