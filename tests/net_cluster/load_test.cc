// Many at once: cancelled ones harm nobody, full queues say so.
#include <gtest/gtest.h>

#include <iostream>
#include <random>

#include "common/base/pushback.h"
#include "common/base/status.h"
#include "tests/net_cluster/net_cluster.h"

namespace baton {
namespace {

using absl::StatusCode;

TEST(NetLoadTest, OneThirdCancelledTheOthersRight) {
  constexpr uint64_t kSeed = 20;
  std::cout << "seed " << kSeed << "\n";
  std::mt19937_64 rng(kSeed);
  const auto draw = [&rng](int low, int high) {
    return std::uniform_int_distribution<int>(low, high)(rng);
  };
  NetCluster cluster;
  struct Planned {
    NetCall* call;
    int cancel_at;  // tokens; -1: never
  };
  std::vector<Planned> all;
  for (int i = 0; i < 40; ++i) {
    const int max_tokens = draw(1, 60);
    // Few salts: some prompts share pages.
    NetCall& call = cluster.Send(
        NetCluster::Request(draw(1, 200), static_cast<uint32_t>(max_tokens), draw(0, 9)));
    all.push_back({&call, i % 3 == 0 ? draw(0, max_tokens) : -1});
  }
  for (const Planned& planned : all) {
    if (planned.cancel_at < 0) continue;
    EXPECT_TRUE(planned.call->AwaitTokens(static_cast<size_t>(planned.cancel_at)));
    planned.call->Disconnect();
  }
  for (const Planned& planned : all) {
    if (planned.cancel_at >= 0) continue;
    ASSERT_TRUE(planned.call->AwaitEnd());
    const ClientCall& call = planned.call->result();
    ASSERT_TRUE(call.completed()) << *call.end_;
    EXPECT_EQ(call.tokens, call.expected());
  }
  cluster.ExpectQuiet();
}

TEST(NetLoadTest, AClientThatDisconnectsFreesEverything) {
  NetCluster cluster;
  for (int stage = 0; stage < 4; ++stage) {
    SCOPED_TRACE(stage);
    const bool prefilling = stage == 0;
    const bool decoding = stage == 1;
    cluster.GatePrefill(prefilling);
    for (int i : {0, 1}) cluster.d(i).runner.SetGate(!decoding);
    NetCall& call = cluster.Send(NetCluster::Request(120, 200, stage));
    if (prefilling) {
      cluster.AwaitPrefillStep();
    } else {
      ASSERT_TRUE(call.AwaitTokens(static_cast<size_t>(stage)));
    }
    call.Disconnect();
    EXPECT_TRUE(cluster.router().thread.Await(
        [&] { return cluster.router().router().Load().live_requests() == 0; },
        std::chrono::seconds(60)));
    for (WorkerHost* worker : cluster.workers()) worker->runner.OpenGate();
    cluster.ExpectQuiet();
  }
  // Nothing of it stayed: the next one is served.
  EXPECT_TRUE(cluster.Ask(NetCluster::Request(50, 5, 9)).completed());
}

TEST(NetLoadTest, AFullQueueRefusesAndSaysWhenToComeBack) {
  NetCluster::Options options = NetCluster::Defaults();
  options.prefills = options.decodes = 1;
  options.prefill.max_queue = options.decode.max_queue = 2;
  options.router.max_queue = 2;
  NetCluster cluster(options);
  cluster.p(0).runner.CloseGate();
  std::vector<NetCall*> calls;
  constexpr size_t kCalls = 40;
  for (size_t i = 0; i < kCalls; ++i) {
    calls.push_back(&cluster.Send(NetCluster::Request(30, 4, static_cast<int>(i))));
  }
  const auto refused = [&] {
    return cluster.router().router().stats().accepted + cluster.router().router().stats().refused ==
           kCalls;
  };
  ASSERT_TRUE(cluster.router().thread.Await(refused, std::chrono::seconds(60)));
  cluster.p(0).runner.OpenGate();
  size_t full = 0;
  for (NetCall* call : calls) {
    ASSERT_TRUE(call->AwaitEnd());
    const ClientCall& result = call->result();
    if (result.completed()) {
      EXPECT_EQ(result.tokens, result.expected());
      continue;
    }
    ++full;
    EXPECT_EQ(result.code(), StatusCode::kResourceExhausted) << *result.end_;
    EXPECT_EQ(PushbackOf(*result.end_), std::chrono::milliseconds(500)) << *result.end_;
  }
  EXPECT_GT(full, 0u);
  EXPECT_LT(full, kCalls);
  cluster.ExpectQuiet();
}

}  // namespace
}  // namespace baton
