#include "router/pairing.h"

#include <gtest/gtest.h>

#include <string>

#include "common/base/status.h"

namespace baton {
namespace {

using absl::StatusCode;

struct Options {
  uint32_t layers = 2;
  uint32_t max_queue = 0;
  uint32_t max_context = 64;
  bool ready = true;
  uint32_t running = 0;
  uint32_t queued = 0;
};

class PairingTest : public ::testing::Test {
 protected:
  SessionId Add(const std::string& id, v1::Role role, Options options = {}) {
    v1::WorkerDescriptor d;
    d.mutable_identity()->set_worker_id(id);
    d.set_role(role);
    d.set_model("m");
    d.set_rpc_endpoint(id);
    d.set_kv_endpoint(id);
    d.set_max_context(options.max_context);
    d.set_max_queue(options.max_queue);
    d.mutable_contract()->mutable_model()->set_architecture("A");
    d.mutable_contract()->mutable_model()->set_source_digest("s");
    d.mutable_contract()->mutable_geometry()->set_layers(options.layers);
    d.mutable_contract()->add_wire_formats(v1::KV_FORMAT_FP16);
    const SessionId session = *membership_.Hello(d, {});
    Report(session, options);
    return session;
  }
  void Report(SessionId session, Options options) {
    v1::LoadReport load;
    load.set_ready(options.ready);
    load.set_running(options.running);
    load.set_queued(options.queued);
    membership_.Report(session, load, {});
  }
  SessionId P(const std::string& id) { return Add(id, v1::ROLE_PREFILL); }
  SessionId D(const std::string& id) { return Add(id, v1::ROLE_DECODE); }

  Membership membership_{Membership::Config{}};
  std::unique_ptr<RoutingPolicy> policy_ = *MakeRoutingPolicy("round_robin", 0);
  Pairing pairing_{membership_, *policy_};
};

TEST_F(PairingTest, EachRoleGoesRoundByItself) {
  P("p0"), P("p1"), D("d0"), D("d1");
  std::set<std::string> pairs;
  for (int i = 0; i < 4; ++i) {
    const auto pair = pairing_.Pick({});
    ASSERT_TRUE(pair.ok());
    pairs.insert(pair->prefill->identity().worker_id() + pair->decode->identity().worker_id());
  }
  EXPECT_EQ(pairs, (std::set<std::string>{"p0d0", "p1d1"}));
}

// A machine too busy to report in time is not an outage; a broken stream is.
TEST_F(PairingTest, ALateWorkerIsPickedOnlyWhereNoneIsReady) {
  const SessionId p0 = P("p0");
  D("d0");
  const TimePoint late = TimePoint{} + std::chrono::seconds(4);
  membership_.Tick(late);
  auto pair = pairing_.Pick({});
  ASSERT_TRUE(pair.ok()) << pair.status();
  EXPECT_EQ(pair->prefill->identity().worker_id(), "p0");
  P("p1");
  for (int i = 0; i < 3; ++i) {
    pair = pairing_.Pick({});
    ASSERT_TRUE(pair.ok()) << pair.status();
    EXPECT_EQ(pair->prefill->identity().worker_id(), "p1");
  }
  membership_.Tick(late);
  membership_.StreamEnded(p0);
  pair = pairing_.Pick({});
  ASSERT_TRUE(pair.ok());
  EXPECT_EQ(pair->prefill->identity().worker_id(), "p1");
}

TEST_F(PairingTest, AWorkerWhoseStreamBrokeIsNotPicked) {
  const SessionId p0 = P("p0");
  D("d0");
  membership_.StreamEnded(p0);
  EXPECT_EQ(pairing_.Pick({}).status().code(), StatusCode::kUnavailable);
}

TEST_F(PairingTest, WithoutAReadyWorkerOfARoleNothingIsPicked) {
  P("p0");
  EXPECT_EQ(pairing_.Pick({}).status().code(), StatusCode::kUnavailable);
  EXPECT_FALSE(pairing_.HasPair());
  Add("d0", v1::ROLE_DECODE, {.ready = false});
  EXPECT_EQ(MessageOf(pairing_.Pick({}).status()), "no decode worker is ready");
  EXPECT_TRUE(pairing_.Pick({.needs_decode = false}).ok());
}

TEST_F(PairingTest, OnlyWorkersWithEqualContractsArePaired) {
  P("p0");
  Add("p1", v1::ROLE_PREFILL, {.layers = 9});
  D("d0");
  for (int i = 0; i < 4; ++i) {
    EXPECT_EQ(pairing_.Pick({})->prefill->identity().worker_id(), "p0");
  }
}

TEST_F(PairingTest, WithoutAPairThatMayHandOverTheFieldIsNamed) {
  P("p0");
  Add("d0", v1::ROLE_DECODE, {.layers = 9});
  const absl::Status status = pairing_.Pick({}).status();
  EXPECT_EQ(status.code(), StatusCode::kFailedPrecondition);
  EXPECT_NE(MessageOf(status).find("geometry.layers: prefill 2, decode 9"), std::string_view::npos);
  EXPECT_FALSE(pairing_.HasPair());
}

TEST_F(PairingTest, ExcludedAndFullWorkersAreWorthWaitingFor) {
  P("p0");
  const SessionId d0 = Add("d0", v1::ROLE_DECODE, {.max_queue = 2});
  std::set<WorkerKey> excluded = {{WorkerId("d0"), Incarnation(0)}};
  EXPECT_EQ(pairing_.Pick({.excluded = &excluded}).status().code(), StatusCode::kResourceExhausted);
  Report(d0, {.running = 5, .queued = 2});
  EXPECT_EQ(pairing_.Pick({}).status().code(), StatusCode::kResourceExhausted);
  EXPECT_TRUE(pairing_.HasPair());
  Report(d0, {.running = 5, .queued = 1});
  EXPECT_TRUE(pairing_.Pick({}).ok());
}

TEST_F(PairingTest, WhatWasSentSinceTheLastReportCounts) {
  P("p0");
  Add("d0", v1::ROLE_DECODE, {.max_queue = 2});
  const WorkerKey d0{WorkerId("d0"), Incarnation(0)};
  {
    const Pairing::Assignment first(pairing_, d0);
    EXPECT_TRUE(pairing_.Pick({}).ok());
    Pairing::Assignment second(pairing_, d0);
    EXPECT_EQ(pairing_.assigned(d0), 2u);
    EXPECT_EQ(pairing_.Pick({}).status().code(), StatusCode::kResourceExhausted);
    const Pairing::Assignment moved = std::move(second);
    EXPECT_EQ(pairing_.assigned(d0), 2u);
  }
  EXPECT_EQ(pairing_.assigned(d0), 0u);
  EXPECT_TRUE(pairing_.Pick({}).ok());
}

TEST_F(PairingTest, AGivenWorkerStaysWhateverItsState) {
  P("p0"), P("p1"), D("d0");
  const WorkerRef p1 = (*membership_.Snapshot())[2].descriptor;
  ASSERT_EQ(p1->identity().worker_id(), "p1");
  Report(SessionId(2), {.ready = false});
  for (int i = 0; i < 3; ++i) EXPECT_EQ(pairing_.Pick({.prefill = p1})->prefill, p1);
}

TEST_F(PairingTest, WorkersWithTooShortAContextAreLeftOut) {
  Add("p0", v1::ROLE_PREFILL, {.max_context = 8});
  P("p1"), D("d0");
  for (int i = 0; i < 3; ++i) {
    EXPECT_EQ(pairing_.Pick({.tokens = 20})->prefill->identity().worker_id(), "p1");
  }
  EXPECT_EQ(pairing_.Pick({.tokens = 65}).status().code(), StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace baton
