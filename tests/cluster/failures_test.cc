// What goes wrong on the way: refusals, losses, cancellation, drain, contracts.
#include <gtest/gtest.h>

#include "common/base/status.h"
#include "tests/cluster/cluster.h"

namespace baton {
namespace {

using absl::StatusCode;
using std::chrono::milliseconds;
using std::chrono::seconds;

Cluster::Options Two() {
  Cluster::Options options = Cluster::Defaults();
  options.prefills = options.decodes = 2;
  return options;
}

// Everything that may still be under way gets its time; then nothing is held.
void ExpectQuiet(Cluster& cluster) {
  for (int i = 0; i < 35 && !cluster.idle(); ++i) cluster.Pass(seconds(1));
  EXPECT_TRUE(cluster.idle());
}

TEST(ClusterFailuresTest, APrefillWorkerKilledBeforeItsFirstTokenCostsOnlyTime) {
  std::mt19937_64 rng(1);
  Cluster cluster(Two());
  auto call = cluster.Send(Cluster::Request(60, 8));
  ASSERT_TRUE(cluster.StepUntil(rng, [&] { return cluster.p(0).runner().computed_tokens() > 0; }));
  ASSERT_TRUE(call->tokens.empty());
  cluster.Kill("p0");
  cluster.Run();
  ASSERT_TRUE(call->completed()) << *call->end_;
  EXPECT_EQ(call->tokens, call->expected());
  EXPECT_EQ(call->complete().workers().prefill(), "p1");
  EXPECT_EQ(call->complete().attempts(), 2u);
  ExpectQuiet(cluster);
}

TEST(ClusterFailuresTest, APrefillWorkerKilledAfterItsFirstTokenIsForcedToIt) {
  std::mt19937_64 rng(2);
  Cluster cluster(Two());
  cluster.HoldDecode(true);
  auto call = cluster.Send(Cluster::Request(60, 8));
  ASSERT_TRUE(cluster.StepUntil(rng, [&] { return call->tokens.size() == 1; }));
  cluster.Kill("p0");
  cluster.HoldDecode(false);
  cluster.Run();
  ASSERT_TRUE(call->completed()) << *call->end_;
  EXPECT_EQ(call->tokens, call->expected());
  ExpectQuiet(cluster);
}

TEST(ClusterFailuresTest, ADecodeWorkerKilledBeforeCommittedCostsOnlyTime) {
  std::mt19937_64 rng(3);
  Cluster cluster(Two());
  auto call = cluster.Send(Cluster::Request(60, 8));
  ASSERT_TRUE(cluster.StepUntil(rng, [&] { return cluster.d(0).worker().arena().used() > 0; }));
  cluster.Kill("d0");
  cluster.Run();
  ASSERT_TRUE(call->completed()) << *call->end_;
  EXPECT_EQ(call->complete().workers().decode(), "d1");
  EXPECT_EQ(call->tokens, call->expected());
  ExpectQuiet(cluster);
}

TEST(ClusterFailuresTest, ADecodeWorkerKilledWhileDecodingEndsTheRequest) {
  std::mt19937_64 rng(4);
  Cluster cluster(Two());
  auto call = cluster.Send(Cluster::Request(40, 100));
  ASSERT_TRUE(cluster.StepUntil(rng, [&] { return call->tokens.size() > 5; }));
  cluster.Kill("d0");
  cluster.Run();
  ASSERT_TRUE(call->ended());
  EXPECT_EQ(call->code(), StatusCode::kUnavailable);
  ExpectQuiet(cluster);
}

TEST(ClusterFailuresTest, ARestartedWorkerServesAgain) {
  Cluster cluster(Cluster::Defaults());
  cluster.Kill("p0");
  cluster.Kill("d0");
  cluster.Run();
  cluster.Start("p0");
  cluster.Start("d0");
  cluster.Run();
  auto call = cluster.Send(Cluster::Request(40, 8));
  cluster.Run();
  ASSERT_TRUE(call->completed()) << *call->end_;
  ExpectQuiet(cluster);
}

TEST(ClusterFailuresTest, ABrokenHandoffStreamIsBoundAnew) {
  std::mt19937_64 rng(5);
  Cluster cluster(Cluster::Defaults());
  auto call = cluster.Send(Cluster::Request(100, 8));
  ASSERT_TRUE(cluster.StepUntil(rng, [&] { return cluster.d(0).worker().arena().used() > 0; }));
  cluster.BreakHandoff("d0");
  cluster.Run();
  ASSERT_TRUE(call->completed()) << *call->end_;
  EXPECT_EQ(call->tokens, call->expected());
  EXPECT_EQ(call->complete().attempts(), 2u);
  ExpectQuiet(cluster);
}

TEST(ClusterFailuresTest, ADecodeWorkerWithoutRoomIsReplacedByRebind) {
  Cluster::Options options = Two();
  options.decode.max_queue = 1;
  options.decode.tells_queue = false;
  options.decode.runner.page_count = 8;
  options.decode.max_pending_kv = 1;
  Cluster cluster(options);
  // Three of these fill d0: one has the pages, one waits, and the next is refused there.
  std::vector<std::shared_ptr<ClientCall>> calls;
  cluster.HoldDecode(true);
  for (int i = 0; i < 5; ++i) calls.push_back(cluster.Send(Cluster::Request(60, 40, i)));
  cluster.Run();
  cluster.HoldDecode(false);
  cluster.Run();
  for (int i = 0; i < 100 && !cluster.idle(); ++i) cluster.Pass(milliseconds(100));
  uint32_t most = 0;
  for (const auto& call : calls) {
    ASSERT_TRUE(call->completed()) << *call->end_;
    EXPECT_EQ(call->tokens, call->expected());
    most = std::max(most, call->complete().attempts());
  }
  EXPECT_GT(most, 1u);
  EXPECT_EQ(cluster.router().stats().retries, 0u);
  ExpectQuiet(cluster);
}

TEST(ClusterFailuresTest, DroppedKvIsComputedAgainAndCostsNoRetry) {
  std::mt19937_64 rng(7);
  Cluster::Options options = Cluster::Defaults();
  options.decodes = 2;
  options.prefill.runner.page_count = 6;
  options.decode.runner.page_count = 8;
  options.decode.max_pending_kv = 1;
  options.prefill.prefix_cache = false;
  Cluster cluster(options);
  // d0 is full of the first request for a while.
  auto first = cluster.Send(Cluster::Request(60, 60, 0));
  ASSERT_TRUE(cluster.StepUntil(rng, [&] { return first->tokens.size() > 1; }));
  auto second = cluster.Send(Cluster::Request(5, 3, 1));
  // Its KV waits for a Grant of d0, in pages that the fourth needs, which d1 has granted.
  auto third = cluster.Send(Cluster::Request(60, 8, 2));
  auto fourth = cluster.Send(Cluster::Request(60, 8, 3));
  cluster.Run();
  for (const auto& call : {first, second, third, fourth}) {
    ASSERT_TRUE(call->completed()) << *call->end_;
    EXPECT_EQ(call->tokens, call->expected());
  }
  EXPECT_EQ(third->complete().workers().decode(), "d0");
  EXPECT_EQ(fourth->complete().workers().decode(), "d1");
  EXPECT_GT(third->complete().attempts(), 1u);
  EXPECT_EQ(fourth->complete().attempts(), 1u);
  EXPECT_EQ(cluster.router().stats().retries, 0u);
  ExpectQuiet(cluster);
}

TEST(ClusterFailuresTest, ARequestThatCanNeverFitIsRefusedAtOnce) {
  Cluster::Options options = Cluster::Defaults();
  options.decode.runner.page_count = 4;
  Cluster cluster(options);
  auto call = cluster.Send(Cluster::Request(60, 40));
  cluster.Run();
  ASSERT_TRUE(call->ended());
  EXPECT_EQ(call->code(), StatusCode::kInvalidArgument);
  ExpectQuiet(cluster);
}

TEST(ClusterFailuresTest, WithoutACompatiblePairTheFieldIsNamed) {
  Cluster::Options options = Cluster::Defaults();
  options.decode.runner.geometry.layers = 3;
  Cluster cluster(options);
  auto call = cluster.Send(Cluster::Request(20, 4));
  cluster.Run();
  ASSERT_TRUE(call->ended());
  EXPECT_EQ(call->code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(MessageOf(*call->end_).find("geometry.layers: prefill 2, decode 3"),
            std::string_view::npos)
      << *call->end_;
}

TEST(ClusterFailuresTest, CancelAtEachStageFreesEverything) {
  for (int steps = 0; steps < 400; steps += 4) {
    SCOPED_TRACE(steps);
    std::mt19937_64 rng(static_cast<uint64_t>(steps) + 77);
    Cluster cluster(Cluster::Defaults());
    auto call = cluster.Send(Cluster::Request(60, 30));
    int done = 0;
    cluster.StepUntil(rng, [&] { return ++done > steps || call->ended(); });
    call->stream.reset();
    cluster.Run();
    cluster.Pass(milliseconds(500));
    ASSERT_TRUE(cluster.idle());
  }
}

TEST(ClusterFailuresTest, ADeadlineFreesEverything) {
  Cluster cluster(Cluster::Defaults());
  cluster.HoldDecode(true);
  auto call = cluster.Send(Cluster::Request(60, 30), cluster.wires.clock.Now() + seconds(1));
  cluster.Pass(milliseconds(1100));
  ASSERT_TRUE(call->ended());
  EXPECT_EQ(call->code(), StatusCode::kDeadlineExceeded);
  cluster.HoldDecode(false);
  ExpectQuiet(cluster);
}

TEST(ClusterFailuresTest, ACorruptedSlabIsNoticedAndEndsTheRequest) {
  Cluster::Options options = Cluster::Defaults();
  options.prefill.faults.corrupt_payload = 1;
  Cluster cluster(options);
  auto call = cluster.Send(Cluster::Request(60, 30));
  cluster.Run();
  ASSERT_TRUE(call->ended());
  EXPECT_EQ(call->code(), StatusCode::kDataLoss);
  ExpectQuiet(cluster);
}

TEST(ClusterFailuresTest, DuplicatedSlabsChangeNothing) {
  Cluster::Options options = Cluster::Defaults();
  options.prefill.faults.duplicate = 1;
  Cluster cluster(options);
  auto call = cluster.Send(Cluster::Request(60, 30));
  cluster.Run();
  ASSERT_TRUE(call->completed()) << *call->end_;
  EXPECT_EQ(call->tokens, call->expected());
  ExpectQuiet(cluster);
}

TEST(ClusterFailuresTest, ADrainingWorkerFinishesWhatItAcceptedAndGetsNothingNew) {
  for (const std::string id : {"p0", "d0"}) {
    SCOPED_TRACE(id);
    std::mt19937_64 rng(6);
    Cluster cluster(Two());
    std::vector<std::shared_ptr<ClientCall>> calls;
    for (int i = 0; i < 6; ++i) calls.push_back(cluster.Send(Cluster::Request(60, 30, i)));
    ASSERT_TRUE(cluster.StepUntil(rng, [&] { return !calls[1]->tokens.empty(); }));
    cluster.node(id)->Drain(cluster.wires.clock.Now() + seconds(120));
    for (int i = 6; i < 10; ++i) calls.push_back(cluster.Send(Cluster::Request(60, 30, i)));
    cluster.Run();
    cluster.Pass(seconds(1));
    for (const auto& call : calls) {
      ASSERT_TRUE(call->completed()) << *call->end_;
      EXPECT_EQ(call->tokens, call->expected());
    }
    auto late = cluster.Send(Cluster::Request(60, 30, 99));
    cluster.Run();
    ASSERT_TRUE(late->completed());
    EXPECT_NE(late->complete().workers().prefill(), id);
    EXPECT_NE(late->complete().workers().decode(), id);
    ExpectQuiet(cluster);
  }
}

}  // namespace
}  // namespace baton
