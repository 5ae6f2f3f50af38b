// How requests end well when everything between the parts is real.
#include <gtest/gtest.h>

#include "common/base/status.h"
#include "tests/net_cluster/net_cluster.h"

namespace baton {
namespace {

using kernels::KvFormat;

TEST(NetEndingsTest, OneRequestGoesThroughBothWorkers) {
  NetCluster cluster;
  const ClientCall& call = cluster.Ask(NetCluster::Request(100, 12));
  ASSERT_TRUE(call.completed()) << *call.end_;
  EXPECT_EQ(call.tokens, call.expected());
  const v1::Complete& complete = call.complete();
  EXPECT_EQ(complete.finish_reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(complete.workers().prefill()[0], 'p');
  EXPECT_EQ(complete.workers().decode()[0], 'd');
  EXPECT_EQ(complete.attempts(), 1u);
  // 100 tokens of 2 layers and 2 heads, K and V: 16 values of a byte and a float scale each.
  EXPECT_EQ(complete.kv().tokens(), 100u);
  EXPECT_GT(complete.kv().slabs(), 1u);
  EXPECT_EQ(complete.kv().format(), v1::KV_FORMAT_INT8);
  EXPECT_EQ(complete.kv().bytes_raw(), 100u * 2 * 2 * 2 * 16 * 2);
  EXPECT_GE(complete.kv().bytes_wire(), 100u * 2 * 2 * 2 * 16);
  cluster.ExpectQuiet();
}

TEST(NetEndingsTest, AFirstTokenThatEndsTheRequest) {
  NetCluster cluster;
  v1::GenerateRequest request = NetCluster::Request(40, 12);
  request.add_stop_token_ids(ClientCall(request, cluster.options.decode.runner).expected()[0]);
  const ClientCall& call = cluster.Ask(request);
  ASSERT_TRUE(call.completed()) << *call.end_;
  EXPECT_EQ(call.tokens.size(), 1u);
  EXPECT_EQ(call.complete().finish_reason(), v1::FINISH_REASON_STOP);
  EXPECT_EQ(call.complete().matched_stop_token(), call.tokens[0]);
  EXPECT_EQ(call.complete().workers().decode(), "");
  cluster.ExpectQuiet();
}

TEST(NetEndingsTest, WithOneTokenNoDecodeWorkerIsCalled) {
  NetCluster cluster;
  const ClientCall& call = cluster.Ask(NetCluster::Request(40, 1));
  ASSERT_TRUE(call.completed()) << *call.end_;
  EXPECT_EQ(call.tokens, call.expected());
  EXPECT_EQ(call.complete().finish_reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(call.complete().workers().decode(), "");
  EXPECT_EQ(call.complete().kv().slabs(), 0u);
  cluster.ExpectQuiet();
}

TEST(NetEndingsTest, AStopStringAcrossBothWorkers) {
  NetCluster cluster;
  v1::GenerateRequest request = NetCluster::Request(40, 12);
  const ClientCall probe(request, cluster.options.decode.runner);
  // The end of the prefill worker's token and the start of the decode worker's.
  request.add_stop(LetterCodec::TextOf(probe.expected()[0]).substr(1) + "[");
  const ClientCall& call = cluster.Ask(request);
  ASSERT_TRUE(call.completed()) << *call.end_;
  EXPECT_EQ(call.text, "[");
  EXPECT_EQ(call.complete().matched_stop(), request.stop(0));
  EXPECT_EQ(call.complete().usage().completion_tokens(), 2u);
  cluster.ExpectQuiet();
}

// Formats and page sizes of prefill and decode workers in every direction.
TEST(NetEndingsTest, WorkersOfOtherFormatsAndPageSizesAgree) {
  struct Side {
    KvFormat format;
    int page_tokens;
  };
  const std::pair<Side, Side> pairs[] = {{{KvFormat::kFp16, 16}, {KvFormat::kInt8, 64}},
                                         {{KvFormat::kInt8, 64}, {KvFormat::kFp16, 16}},
                                         {{KvFormat::kInt8, 32}, {KvFormat::kInt8, 16}},
                                         {{KvFormat::kFp16, 128}, {KvFormat::kFp16, 128}}};
  for (const auto& [prefill, decode] : pairs) {
    SCOPED_TRACE(
        fmt::format("pages of {} to pages of {}", prefill.page_tokens, decode.page_tokens));
    NetCluster::Options options = NetCluster::Defaults();
    options.prefills = options.decodes = 1;
    options.prefill.runner.resident = {prefill.format, prefill.format};
    options.prefill.runner.page_tokens = prefill.page_tokens;
    options.decode.runner.resident = {decode.format, decode.format};
    options.decode.runner.page_tokens = decode.page_tokens;
    NetCluster cluster(options);
    const ClientCall& call = cluster.Ask(NetCluster::Request(150, 20));
    ASSERT_TRUE(call.completed()) << *call.end_;
    EXPECT_EQ(call.tokens, call.expected());
    EXPECT_EQ(call.complete().kv().tokens(), 150u);
    cluster.ExpectQuiet();
  }
}

}  // namespace
}  // namespace baton
