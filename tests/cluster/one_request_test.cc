// One request through a whole cluster, in order.
#include <gtest/gtest.h>

#include "tests/cluster/cluster.h"

namespace baton {
namespace {

TEST(OneRequestTest, GoesThroughBothWorkers) {
  Cluster cluster(Cluster::Defaults());
  ASSERT_TRUE(cluster.router().ready());
  auto call = cluster.Send(Cluster::Request(40, 12));
  cluster.Run();
  ASSERT_TRUE(call->completed()) << *call->end_;
  EXPECT_EQ(call->tokens, call->expected());
  const v1::Complete& complete = call->complete();
  EXPECT_EQ(complete.workers().prefill(), "p0");
  EXPECT_EQ(complete.workers().decode(), "d0");
  EXPECT_EQ(complete.kv().tokens(), 40u);
  EXPECT_GT(complete.kv().slabs(), 1u);
  EXPECT_EQ(complete.kv().format(), v1::KV_FORMAT_INT8);
  EXPECT_EQ(complete.attempts(), 1u);
  EXPECT_EQ(complete.finish_reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_TRUE(cluster.idle());
}

}  // namespace
}  // namespace baton
