#include "prefill_node/prefill_worker.h"

#include <gtest/gtest.h>

#include "tests/prefill_node/harness.h"

namespace baton {
namespace {

using Kind = v1::HandoffRequest::MessageCase;

TEST(PrefillWorkerTest, ComputesInChunksAndHandsOver) {
  PrefillHarness h;
  const auto prompt = MakePrompt(70, 1);
  auto r = h.Start({.prompt = prompt});
  h.Settle();
  ASSERT_TRUE(r->closed.has_value());
  EXPECT_TRUE(r->closed->ok()) << *r->closed;
  ASSERT_EQ(r->messages.size(), 3u);
  EXPECT_TRUE(r->messages[0].has_started());
  ASSERT_NE(r->first_token(), nullptr);
  EXPECT_EQ(r->first_token()->token_id(), h.Expected(prompt));
  EXPECT_EQ(r->first_token()->finish_reason(), v1::FINISH_REASON_UNSPECIFIED);
  EXPECT_TRUE(r->messages[2].has_delivered());
  EXPECT_EQ(h.worker->scheduler().steps(), 3);  // 32 + 32 + 6
  // The decode worker goes on from its own pages.
  auto tokens = prompt;
  tokens.push_back(r->first_token()->token_id());
  EXPECT_EQ(h.d0->NextToken(tokens), h.Expected(tokens));
  EXPECT_EQ(h.d0->bad_slabs, 0);
  EXPECT_GE(h.d0->count(Kind::kNeedCredit), 3);
  EXPECT_TRUE(h.worker->idle());
}

TEST(PrefillWorkerTest, SlabsLeaveWhileLaterChunksAreComputed) {
  PrefillHarness h;
  auto r = h.Start({.prompt = MakePrompt(96, 1)});
  h.Deliver();
  EXPECT_EQ(h.d0->count(Kind::kOpen), 1);  // before anything is computed
  h.executor.RunOne(Lane::kCompute);
  h.Deliver();
  EXPECT_EQ(h.d0->count(Kind::kNeedCredit), 2);  // a layer each: both do not fit into one
  EXPECT_EQ(h.executor.waiting(Lane::kCopy), 2);
  EXPECT_EQ(h.executor.waiting(Lane::kCompute), 1);
  EXPECT_EQ(r->first_token(), nullptr);
  h.Settle();
  EXPECT_NE(r->delivered(), nullptr);
}

TEST(PrefillWorkerTest, SeveralRequestsShareOneStep) {
  PrefillHarness h;
  auto a = h.Start({.id = 1, .prompt = MakePrompt(10, 1)});
  auto b = h.Start({.id = 2, .prompt = MakePrompt(10, 2), .decode = "d1"});
  auto c = h.Start({.id = 3, .prompt = MakePrompt(20, 3)});
  h.Settle();
  ASSERT_TRUE(c->closed.has_value());
  ASSERT_TRUE(c->closed->ok()) << *c->closed;
  EXPECT_EQ(h.worker->scheduler().steps(), 2);  // 10 + 10 + 12, 8
  EXPECT_EQ(a->first_token()->token_id(), h.Expected(MakePrompt(10, 1)));
  EXPECT_EQ(b->first_token()->token_id(), h.Expected(MakePrompt(10, 2)));
  EXPECT_EQ(c->first_token()->token_id(), h.Expected(MakePrompt(20, 3)));
  EXPECT_TRUE(b->delivered() != nullptr && h.d1->count(Kind::kCommit) == 1);
}

TEST(PrefillWorkerTest, MaxTokensOneNeedsNoDecodeWorker) {
  PrefillHarness h;
  auto r = h.Start({.prompt = MakePrompt(20, 1), .max_tokens = 1, .decode = ""});
  h.Settle();
  ASSERT_NE(r->first_token(), nullptr);
  EXPECT_EQ(r->first_token()->finish_reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_NE(r->delivered(), nullptr);
  EXPECT_TRUE(r->closed->ok());
  EXPECT_EQ(h.d0->streams_opened, 0);
  EXPECT_TRUE(h.worker->idle());
}

TEST(PrefillWorkerTest, FirstTokenMayEndTheRequest) {
  PrefillHarness h;
  const auto prompt = MakePrompt(20, 1);
  const int32_t stop = h.Expected(prompt);
  auto r = h.Start({.prompt = prompt, .stop_ids = {stop}});
  h.Settle();
  EXPECT_EQ(r->first_token()->finish_reason(), v1::FINISH_REASON_STOP);
  EXPECT_EQ(r->first_token()->matched_stop_token(), stop);
  EXPECT_EQ(h.d0->last(Kind::kAbort)->abort().reason(), v1::ABORT_REASON_FINISHED);
  EXPECT_EQ(h.d0->count(Kind::kCommit), 0);
  EXPECT_TRUE(r->closed->ok());
  EXPECT_TRUE(h.worker->idle());
}

TEST(PrefillWorkerTest, ForcedFirstTokenIsCommittedAndNotSampled) {
  PrefillHarness h;
  const auto prompt = MakePrompt(20, 1);
  auto r = h.Start({.prompt = prompt, .forced = 123, .attempt = 2});
  h.Settle();
  EXPECT_EQ(h.d0->last(Kind::kCommit)->commit().first_token(), 123);
  EXPECT_EQ(r->first_token()->token_id(), 123);
  auto tokens = prompt;
  tokens.push_back(123);
  EXPECT_EQ(h.d0->NextToken(tokens), h.Expected(tokens));
}

TEST(PrefillWorkerTest, PrefixIsReusedWithinATenant) {
  PrefillHarness h;
  const auto prompt = MakePrompt(48, 1);
  for (const char* tenant : {"a", "a", "b"}) {
    auto r = h.Start({.prompt = prompt, .tenant = tenant});
    h.Settle();
    ASSERT_NE(r->delivered(), nullptr);
    EXPECT_EQ(r->first_token()->token_id(), h.Expected(prompt));
    auto tokens = prompt;
    tokens.push_back(r->first_token()->token_id());
    EXPECT_EQ(h.d0->NextToken(tokens), h.Expected(tokens));
  }
  // The second finds two pages; the third is needed for the logits of its last token.
  EXPECT_EQ(h.worker->metrics().prefix_tokens_reused.value(), 32u);
  EXPECT_EQ(h.runner.computed_tokens(), 48 + 16 + 48);
  EXPECT_TRUE(h.worker->idle());
}

TEST(PrefillWorkerTest, CacheOffComputesEverything) {
  auto config = PrefillHarness::DefaultConfig();
  config.prefix_cache = false;
  PrefillHarness h(config);
  for (int i = 0; i < 2; ++i) {
    auto r = h.Start({.prompt = MakePrompt(48, 1)});
    h.Settle();
  }
  EXPECT_EQ(h.runner.computed_tokens(), 96);
  EXPECT_EQ(h.worker->scheduler().pages().allocator().used_count(), 0);
}

TEST(PrefillWorkerTest, DecodeWorkerThatWantsNothingGetsOnlyTheCommit) {
  PrefillHarness h;
  h.d0->script.first_wanted = 48;
  auto r = h.Start({.prompt = MakePrompt(48, 1)});
  h.Settle();
  EXPECT_EQ(h.d0->count(Kind::kNeedCredit), 0);
  EXPECT_EQ(h.d0->last(Kind::kCommit)->commit().slabs(), 0u);
  EXPECT_NE(r->delivered(), nullptr);
}

TEST(PrefillWorkerTest, TransfersToOneDecodeWorkerShareAStreamAndItsRenewals) {
  PrefillHarness h;
  h.d0->script.commit = false;
  auto a = h.Start({.id = 1, .prompt = MakePrompt(20, 1)});
  auto b = h.Start({.id = 2, .prompt = MakePrompt(20, 2)});
  h.Settle();
  EXPECT_EQ(h.d0->streams_opened, 1);
  EXPECT_EQ(h.d0->received[0].message_case(), Kind::kHello);
  EXPECT_EQ(h.d0->received[0].hello().decode().incarnation(), 5u);
  h.Advance(std::chrono::seconds(5));
  ASSERT_NE(h.d0->last(Kind::kRenew), nullptr);
  EXPECT_EQ(h.d0->last(Kind::kRenew)->renew().transfer_ids_size(), 2);
  EXPECT_EQ(h.worker->handoff().link_count(), 1u);
}

TEST(PrefillWorkerTest, QueueIsBounded) {
  PrefillHarness h;
  std::vector<std::unique_ptr<RouterStream>> streams;
  for (uint64_t id = 1; id <= 6; ++id) {
    // Delivered before anything is scheduled: all of them wait.
    streams.push_back(h.Start({.id = id, .prompt = MakePrompt(20, static_cast<int>(id))}));
  }
  h.Settle();
  for (int i = 0; i < 6; ++i) {
    ASSERT_TRUE(streams[i]->closed.has_value());
    EXPECT_EQ(streams[i]->closed->code(),
              i < 4 ? absl::StatusCode::kOk : absl::StatusCode::kResourceExhausted);
  }
}

TEST(PrefillWorkerTest, DeadlineInQueueCostsNothing) {
  PrefillHarness h;
  auto running = h.Start({.id = 1, .prompt = MakePrompt(16 * 16, 1)});
  h.Deliver();
  auto r = h.Start({.id = 2, .prompt = MakePrompt(20, 2), .timeout = std::chrono::seconds(1)});
  h.Deliver();
  EXPECT_EQ(h.worker->Load().queued(), 1u);
  h.Advance(std::chrono::seconds(1));
  ASSERT_TRUE(r->closed.has_value());
  EXPECT_EQ(r->closed->code(), absl::StatusCode::kDeadlineExceeded);
  EXPECT_EQ(h.d0->last(Kind::kAbort)->abort().reason(), v1::ABORT_REASON_CANCELLED);
  h.Settle();
  EXPECT_EQ(h.runner.computed_tokens(), 256);
  EXPECT_NE(running->delivered(), nullptr);
  EXPECT_TRUE(h.worker->idle());
}

TEST(PrefillWorkerTest, WrongMessagesEndTheStream) {
  PrefillHarness h;
  const auto expect = [&](v1::PrefillRequest message, absl::StatusCode code) {
    auto r = h.Open();
    r->Send(std::move(message));
    h.Settle();
    ASSERT_TRUE(r->closed.has_value());
    EXPECT_EQ(r->closed->code(), code) << *r->closed;
    EXPECT_TRUE(h.worker->idle());
  };
  const PrefillHarness::Request good{.prompt = MakePrompt(20, 1)};
  expect({}, absl::StatusCode::kInvalidArgument);
  auto message = PrefillHarness::StartMessage(good);
  message.mutable_start()->set_transfer_id("short");
  expect(message, absl::StatusCode::kInvalidArgument);
  message = PrefillHarness::StartMessage(good);
  message.mutable_start()->set_attempt(0);
  expect(message, absl::StatusCode::kInvalidArgument);
  message = PrefillHarness::StartMessage(good);
  message.mutable_start()->set_incarnation(kPrefillIncarnation + 1);
  expect(message, absl::StatusCode::kUnavailable);
  message = PrefillHarness::StartMessage(good);
  message.mutable_start()->clear_decode();
  expect(message, absl::StatusCode::kInvalidArgument);
  message = PrefillHarness::StartMessage(good);
  message.mutable_start()->mutable_decode()->clear_kv_endpoint();
  expect(message, absl::StatusCode::kInvalidArgument);
  message = PrefillHarness::StartMessage(good);
  message.mutable_start()->set_forced_first_token(1000);
  expect(message, absl::StatusCode::kInvalidArgument);
  expect(PrefillHarness::StartMessage({.prompt = MakePrompt(16 * 16 + 1, 1)}),
         absl::StatusCode::kInvalidArgument);  // can never fit
  v1::PrefillRequest rebind;
  rebind.mutable_rebind()->set_attempt(2);
  expect(rebind, absl::StatusCode::kInvalidArgument);
}

TEST(PrefillWorkerTest, ASecondStartOrALiveTransferIsRefused) {
  PrefillHarness h;
  auto r = h.Start({.prompt = MakePrompt(20, 1)});
  auto twin = h.Start({.prompt = MakePrompt(20, 1)});
  h.Deliver();
  EXPECT_EQ(twin->closed->code(), absl::StatusCode::kAlreadyExists);
  EXPECT_FALSE(r->closed.has_value());
  r->Send(PrefillHarness::StartMessage({.id = 9, .prompt = MakePrompt(20, 1)}));
  h.Settle();
  EXPECT_EQ(r->closed->code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(h.worker->idle());
}

TEST(PrefillWorkerTest, DeviceFailureEndsEverything) {
  for (bool in_step : {true, false}) {
    PrefillHarness h;
    auto r = h.Start({.prompt = MakePrompt(20, 1)});
    h.Deliver();
    if (!in_step) {
      h.executor.RunOne(Lane::kCompute);
      h.Deliver();
      ASSERT_EQ(h.executor.waiting(Lane::kCopy), 1);
    }
    h.runner.FailNext(absl::InternalError("broken"));
    h.Settle();
    ASSERT_TRUE(r->closed.has_value());
    EXPECT_EQ(r->closed->code(), absl::StatusCode::kUnavailable);
    EXPECT_FALSE(h.worker->Load().ready());
    auto late = h.Start({.id = 2, .prompt = MakePrompt(20, 1)});
    h.Settle();
    EXPECT_EQ(late->closed->code(), absl::StatusCode::kUnavailable);
    EXPECT_TRUE(h.worker->idle());
  }
}

TEST(PrefillWorkerTest, ConfigurationMustFitTheRunner) {
  FakeClock clock;
  Logger logger{{.level = LogLevel::kError}};
  Mailbox mailbox(clock);
  ManualExecutor executor;
  FakeRunner runner(PrefillHarness::DefaultRunner());
  InProcessLanes lanes(InProcessLanes::Mode::kImmediate);
  LocalFabric fabric(lanes);
  LocalTransport transport(fabric);
  MetricRegistry metrics;
  const auto create = [&](PrefillWorker::Config config) {
    return PrefillWorker::Create(std::move(config), {runner, executor, mailbox, clock, transport,
                                                     nullptr, logger, metrics})
        .status()
        .code();
  };
  auto config = PrefillHarness::DefaultConfig();
  EXPECT_EQ(create(config), absl::StatusCode::kOk);
  config.arena_bytes = 2 * config.slab_bytes - 1;
  EXPECT_EQ(create(config), absl::StatusCode::kInvalidArgument);
  config = PrefillHarness::DefaultConfig();
  config.contract.mutable_geometry()->set_layers(3);
  EXPECT_EQ(create(config), absl::StatusCode::kInvalidArgument);
  config = PrefillHarness::DefaultConfig();
  config.chunk_tokens = 0;
  EXPECT_EQ(create(config), absl::StatusCode::kInvalidArgument);
}

}  // namespace
}  // namespace baton
