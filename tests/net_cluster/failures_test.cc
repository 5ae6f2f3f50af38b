// What goes wrong on the way, with real connections.
#include <gtest/gtest.h>

#include "common/base/status.h"
#include "tests/net_cluster/net_cluster.h"

namespace baton {
namespace {

using absl::StatusCode;
using std::chrono::milliseconds;
using std::chrono::seconds;

TEST(NetFailuresTest, APrefillWorkerThatStopsIsReplaced) {
  NetCluster cluster;
  cluster.GatePrefill(true);
  NetCall& call = cluster.Send(NetCluster::Request(100, 12));
  // Whichever was chosen stands in the middle of the prompt.
  PrefillHost& stopping = cluster.AwaitPrefillStep();
  PrefillHost& other = &stopping == &cluster.p(0) ? cluster.p(1) : cluster.p(0);
  other.runner.OpenGate();
  stopping.RequestStop(2);
  ASSERT_TRUE(call.AwaitEnd());
  ASSERT_TRUE(call.result().completed()) << *call.result().end_;
  EXPECT_EQ(call.result().tokens, call.result().expected());
  EXPECT_EQ(call.result().complete().workers().prefill(), other.id());
  EXPECT_EQ(call.result().complete().attempts(), 2u);
  cluster.Drop(stopping);
  cluster.ExpectQuiet();
  // The one that is left serves alone.
  EXPECT_TRUE(cluster.Ask(NetCluster::Request(50, 5, 3)).completed());
  cluster.ExpectQuiet();
}

TEST(NetFailuresTest, ADrainingPrefillWorkerFinishesWhatItAccepted) {
  NetCluster cluster;
  cluster.GatePrefill(true);
  NetCall& call = cluster.Send(NetCluster::Request(100, 12));
  PrefillHost& draining = cluster.AwaitPrefillStep();
  PrefillHost& staying = &draining == &cluster.p(0) ? cluster.p(1) : cluster.p(0);
  staying.runner.OpenGate();
  draining.RequestStop(1);
  // It is no longer chosen before it lets the first one go on.
  ASSERT_TRUE(cluster.router().thread.Await(
      [&] {
        const v1::GetLoadResponse load = cluster.router().router().Load();
        for (const v1::WorkerLoad& worker : load.workers()) {
          if (worker.worker_id() == draining.id() && worker.state() == "draining") return true;
        }
        return false;
      },
      seconds(60)));
  for (int i = 1; i < 4; ++i) {
    const ClientCall& other = cluster.Ask(NetCluster::Request(60, 5, i));
    ASSERT_TRUE(other.completed()) << *other.end_;
    EXPECT_EQ(other.complete().workers().prefill(), staying.id());
  }
  draining.runner.OpenGate();
  ASSERT_TRUE(call.AwaitEnd());
  ASSERT_TRUE(call.result().completed()) << *call.result().end_;
  EXPECT_EQ(call.result().complete().workers().prefill(), draining.id());
  EXPECT_EQ(call.result().complete().attempts(), 1u);
  draining.Join();
  cluster.Drop(draining);
  cluster.ExpectQuiet();
}

TEST(NetFailuresTest, APairWhoseContractsDifferIsRefusedByName) {
  NetCluster::Options options = NetCluster::Defaults();
  options.prefills = options.decodes = 1;
  options.decode.runner.geometry.layers = 3;
  NetCluster cluster(options);
  const ClientCall& call = cluster.Ask(NetCluster::Request(20, 4));
  ASSERT_TRUE(call.ended());
  EXPECT_EQ(call.code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(MessageOf(*call.end_).find("geometry.layers: prefill 2, decode 3"),
            std::string_view::npos)
      << *call.end_;
  // One token needs no pair.
  EXPECT_TRUE(cluster.Ask(NetCluster::Request(20, 1)).completed());
  cluster.ExpectQuiet();
}

TEST(NetFailuresTest, ADeadlineFreesEverything) {
  for (const bool prefilling : {true, false}) {
    SCOPED_TRACE(prefilling);
    NetCluster cluster;
    for (int i : {0, 1}) {
      (prefilling ? cluster.p(i).runner : cluster.d(i).runner).CloseGate();
    }
    NetCall& call = cluster.Send(NetCluster::Request(100, 12), milliseconds(300));
    ASSERT_TRUE(call.AwaitEnd());
    EXPECT_EQ(call.result().code(), StatusCode::kDeadlineExceeded);
    EXPECT_TRUE(cluster.router().thread.Await(
        [&] { return cluster.router().router().Load().live_requests() == 0; }, seconds(60)));
    for (WorkerHost* worker : cluster.workers()) worker->runner.OpenGate();
    cluster.ExpectQuiet();
  }
}

TEST(NetFailuresTest, AnIdThatIsLiveIsRefused) {
  NetCluster cluster;
  cluster.GatePrefill(true);
  v1::GenerateRequest request = NetCluster::Request(40, 6);
  request.set_request_id("mine");
  NetCall& first = cluster.Send(request);
  ASSERT_TRUE(cluster.router().thread.Await(
      [&] { return cluster.router().router().Load().live_requests() == 1; }, seconds(60)));
  const ClientCall& second = cluster.Ask(request);
  ASSERT_TRUE(second.ended());
  EXPECT_EQ(second.code(), StatusCode::kAlreadyExists);
  EXPECT_NE(MessageOf(*second.end_).find("'mine'"), std::string_view::npos) << *second.end_;
  cluster.GatePrefill(false);
  ASSERT_TRUE(first.AwaitEnd());
  ASSERT_TRUE(first.result().completed()) << *first.result().end_;
  EXPECT_EQ(first.result().tokens, first.result().expected());
  // Free again after its end.
  EXPECT_TRUE(cluster.Ask(request).completed());
  cluster.ExpectQuiet();
}

TEST(NetFailuresTest, ABadRequestIsRefusedByFieldAndHarmsNobody) {
  NetCluster cluster;
  v1::GenerateRequest bad = NetCluster::Request(40, 6);
  bad.set_top_p(7);
  const ClientCall& refused = cluster.Ask(bad);
  ASSERT_TRUE(refused.ended());
  EXPECT_EQ(refused.code(), StatusCode::kInvalidArgument);
  EXPECT_NE(MessageOf(*refused.end_).find("top_p"), std::string_view::npos) << *refused.end_;
  EXPECT_TRUE(cluster.Ask(NetCluster::Request(40, 6)).completed());
  cluster.ExpectQuiet();
}

}  // namespace
}  // namespace baton
