// What happens to a prefill worker's requests when others refuse, vanish, change or take too long.
#include <gtest/gtest.h>

#include "prefill_node/prefill_worker.h"
#include "tests/prefill_node/harness.h"

namespace baton {
namespace {

using Kind = v1::HandoffRequest::MessageCase;
using std::chrono::seconds;

constexpr int kHalfOfPages = 16 * 16 / 2 + 16;  // two such prompts do not fit

TEST(PrefillFailuresTest, RefusalKeepsTheKvForARebind) {
  PrefillHarness h;
  h.d0->script.grant = false;
  const auto prompt = MakePrompt(48, 1);
  auto r = h.Start({.prompt = prompt});
  h.Settle();
  h.d0->Refuse(v1::REFUSE_CODE_NO_ROOM);
  h.Settle();
  ASSERT_NE(r->refused(), nullptr);
  EXPECT_EQ(r->refused()->code(), v1::REFUSE_CODE_NO_ROOM);
  EXPECT_EQ(r->refused()->attempt(), 1u);
  EXPECT_FALSE(r->closed.has_value());
  r->Rebind(2, "d1");
  h.Settle();
  EXPECT_EQ(h.runner.computed_tokens(), 48);  // nothing was computed again
  EXPECT_EQ(h.d1->last(Kind::kOpen)->attempt(), 2u);
  ASSERT_NE(r->first_token(1), nullptr);  // told again under the new attempt
  EXPECT_EQ(r->first_token(1)->attempt(), 2u);
  EXPECT_EQ(r->first_token(1)->token_id(), r->first_token(0)->token_id());
  EXPECT_NE(r->delivered(), nullptr);
  auto tokens = prompt;
  tokens.push_back(r->first_token()->token_id());
  EXPECT_EQ(h.d1->NextToken(tokens), h.Expected(tokens));
  EXPECT_TRUE(h.worker->idle());
}

TEST(PrefillFailuresTest, RebindWhileComputingMovesTheTransfer) {
  PrefillHarness h;
  auto r = h.Start({.prompt = MakePrompt(96, 1)});
  h.Deliver();
  h.executor.RunOne(Lane::kCompute);
  h.Deliver();
  ASSERT_EQ(h.executor.waiting(Lane::kCopy), 2);  // slabs for the old one are being packed
  r->Rebind(2, "d1");
  h.Deliver();
  EXPECT_EQ(h.d0->last(Kind::kAbort)->abort().reason(), v1::ABORT_REASON_REBOUND);
  h.Settle();
  EXPECT_NE(r->delivered(), nullptr);
  EXPECT_EQ(h.d1->bad_slabs, 0);
  EXPECT_EQ(h.d0->count(Kind::kCommit), 0);
  EXPECT_EQ(h.worker->handoff().arena_used(), 0u);
  EXPECT_TRUE(h.worker->idle());
}

TEST(PrefillFailuresTest, ForcedTokenOfARebindReplacesTheSampledOne) {
  PrefillHarness h;
  h.d0->script.grant = false;
  auto r = h.Start({.prompt = MakePrompt(20, 1)});
  h.Settle();
  r->Rebind(2, "d1", 321);
  h.Settle();
  EXPECT_EQ(h.d1->last(Kind::kCommit)->commit().first_token(), 321);
  EXPECT_EQ(r->first_token(1), nullptr);  // the router has it
  EXPECT_NE(r->delivered(), nullptr);
}

TEST(PrefillFailuresTest, AttemptsOnlyGrow) {
  PrefillHarness h;
  h.d0->script.grant = false;
  auto r = h.Start({.prompt = MakePrompt(20, 1), .attempt = 3});
  h.Settle();
  r->Rebind(3, "d1");
  h.Settle();
  EXPECT_EQ(r->closed->code(), absl::StatusCode::kInvalidArgument);
  EXPECT_TRUE(h.worker->idle());
}

TEST(PrefillFailuresTest, AnswersOfAFormerAttemptAreDropped) {
  PrefillHarness h;
  h.d0->script.grant = false;
  auto r = h.Start({.prompt = MakePrompt(20, 1)});
  h.Settle();
  r->Rebind(2, "d0");  // the same decode worker
  h.Settle();
  v1::HandoffResponse late;
  late.mutable_grant()->set_wire_format(v1::KV_FORMAT_INT8);
  late.mutable_grant()->set_max_slab_bytes(4096);
  h.d0->Send(late, 1);
  late.mutable_refuse()->set_code(v1::REFUSE_CODE_STALE);
  h.d0->Send(late, 1);
  h.Settle();
  EXPECT_EQ(h.worker->handoff().stale_messages(), 2);
  EXPECT_FALSE(r->closed.has_value());
  h.d0->Grant();
  h.Settle();
  EXPECT_NE(r->delivered(), nullptr);
}

TEST(PrefillFailuresTest, AlreadyCommittedFreesThePages) {
  PrefillHarness h;
  h.d0->script.grant = false;
  auto r = h.Start({.prompt = MakePrompt(20, 1), .attempt = 2});
  h.Deliver();
  h.d0->Refuse(v1::REFUSE_CODE_ALREADY_COMMITTED);
  h.Deliver();  // the step is still running
  ASSERT_TRUE(r->closed.has_value());
  EXPECT_TRUE(r->closed->ok());
  EXPECT_NE(r->delivered(), nullptr);
  h.Settle();
  EXPECT_TRUE(h.worker->idle());
}

// Stages of a request at which it is cancelled.
enum class Stage { kStarted, kStep, kComputed, kCredited, kPacked, kCommitting, kRefused };
constexpr Stage kStages[] = {Stage::kStarted,  Stage::kStep,   Stage::kComputed,
                             Stage::kCredited, Stage::kPacked, Stage::kCommitting,
                             Stage::kRefused};

// Brings a request of two slabs to a stage.
std::unique_ptr<RouterStream> BringTo(PrefillHarness& h, Stage stage) {
  h.d0->script.grant = stage >= Stage::kCredited && stage != Stage::kRefused;
  h.d0->script.ack = h.d0->script.commit = false;
  auto r = h.Start({.prompt = MakePrompt(40, 1)});
  if (stage == Stage::kStarted) {
    h.mailbox.RunAll();  // no tick: nothing is scheduled
    return r;
  }
  h.Deliver();
  if (stage == Stage::kStep) return r;
  while (h.executor.RunOne(Lane::kCompute)) h.Deliver();
  if (stage == Stage::kPacked) {
    h.executor.RunOne(Lane::kCopy);
    h.Deliver();
  }
  if (stage == Stage::kCommitting) h.Settle();
  if (stage == Stage::kRefused) h.d0->Refuse(v1::REFUSE_CODE_BUSY);
  h.Deliver();
  return r;
}

TEST(PrefillFailuresTest, CancelAtEachStageFreesEverything) {
  for (Stage stage : kStages) {
    for (bool by_disconnect : {false, true}) {
      SCOPED_TRACE(testing::Message()
                   << "stage " << static_cast<int>(stage) << " " << by_disconnect);
      PrefillHarness h;
      auto r = BringTo(h, stage);
      ASSERT_FALSE(r->closed.has_value());
      EXPECT_EQ(h.d0->count(Kind::kCommit), stage == Stage::kCommitting ? 1 : 0);
      if (by_disconnect) {
        r.reset();
      } else {
        r->Cancel(v1::CANCEL_REASON_CLIENT);
      }
      h.Deliver();
      if (r) {
        EXPECT_EQ(r->closed->code(), absl::StatusCode::kCancelled);
      }
      if (stage == Stage::kRefused) {
        EXPECT_EQ(h.d0->count(Kind::kAbort), 0);  // that attempt is over already
      } else {
        ASSERT_NE(h.d0->last(Kind::kAbort), nullptr);
        EXPECT_EQ(h.d0->last(Kind::kAbort)->abort().reason(), v1::ABORT_REASON_CANCELLED);
      }
      h.Settle();
      EXPECT_TRUE(h.worker->idle());
      EXPECT_EQ(h.worker->handoff().arena_used(), 0u);
    }
  }
}

TEST(PrefillFailuresTest, CancelFinishedEndsInGoodOrder) {
  PrefillHarness h;
  auto r = BringTo(h, Stage::kCredited);
  r->Cancel(v1::CANCEL_REASON_FINISHED);
  h.Settle();
  EXPECT_TRUE(r->closed->ok());
  EXPECT_EQ(h.d0->last(Kind::kAbort)->abort().reason(), v1::ABORT_REASON_FINISHED);
  EXPECT_TRUE(h.worker->idle());
}

TEST(PrefillFailuresTest, BrokenHandoffStreamAtEachStageWaitsForARebind) {
  for (Stage stage : kStages) {
    SCOPED_TRACE(testing::Message() << "stage " << static_cast<int>(stage));
    PrefillHarness h;
    auto r = BringTo(h, stage);
    h.d0->Break();
    h.Settle();
    ASSERT_FALSE(r->closed.has_value());
    if (stage != Stage::kRefused) {
      ASSERT_NE(r->refused(), nullptr);
      EXPECT_EQ(r->refused()->code(), v1::REFUSE_CODE_HANDOFF_LOST);
    }
    EXPECT_EQ(h.worker->handoff().link_count(), 0u);
    // The same worker again, over a new stream.
    h.d0->Listen();
    h.d0->script = {};
    r->Rebind(2, "d0");
    h.Settle();
    EXPECT_EQ(h.d0->streams_opened, 2);
    EXPECT_NE(r->delivered(), nullptr);
    EXPECT_EQ(h.runner.computed_tokens(), 40);
    EXPECT_TRUE(h.worker->idle());
  }
}

TEST(PrefillFailuresTest, UnreachableDecodeWorkerIsHandoffLost) {
  PrefillHarness h;
  auto r = h.Start({.prompt = MakePrompt(20, 1), .decode = "nobody"});
  h.Settle();
  ASSERT_NE(r->refused(), nullptr);
  EXPECT_EQ(r->refused()->code(), v1::REFUSE_CODE_HANDOFF_LOST);
  r->Rebind(2, "d1");
  h.Settle();
  EXPECT_NE(r->delivered(), nullptr);
}

TEST(PrefillFailuresTest, MissingAckIsDataLoss) {
  PrefillHarness h;
  auto r = BringTo(h, Stage::kCommitting);
  h.Advance(seconds(5) - std::chrono::milliseconds(1));
  EXPECT_FALSE(r->closed.has_value());
  h.Advance(std::chrono::milliseconds(20));
  ASSERT_TRUE(r->closed.has_value());
  EXPECT_EQ(r->closed->code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(h.d0->last(Kind::kAbort)->abort().reason(), v1::ABORT_REASON_DATA_LOSS);
  EXPECT_TRUE(h.worker->idle());
}

TEST(PrefillFailuresTest, LeaseEndsUnlessTheDecodeWorkerRenews) {
  PrefillHarness h;
  h.d0->script.grant = false;
  auto r = h.Start({.id = 1, .prompt = MakePrompt(20, 1)});
  auto silent = h.Start({.id = 2, .prompt = MakePrompt(20, 2)});
  h.Settle();
  for (int i = 0; i < 5; ++i) {
    h.Advance(seconds(5));
    h.d0->Renew({TransferId{0, 1}, TransferId{0, 99}});
    h.Deliver();
  }
  EXPECT_FALSE(silent->closed.has_value());
  h.Advance(seconds(5));  // 30 s
  ASSERT_TRUE(silent->closed.has_value());
  EXPECT_EQ(silent->closed->code(), absl::StatusCode::kAborted);
  EXPECT_EQ(silent->refused()->code(), v1::REFUSE_CODE_LEASE_EXPIRED);
  EXPECT_EQ(h.d0->last(Kind::kAbort)->abort().reason(), v1::ABORT_REASON_LEASE_EXPIRED);
  EXPECT_FALSE(r->closed.has_value());
  h.Advance(seconds(15));  // 45 s = the last renewal + 20 s
  ASSERT_TRUE(r->closed.has_value());
  EXPECT_EQ(r->closed->code(), absl::StatusCode::kAborted);
  EXPECT_EQ(h.worker->metrics().leases_expired.value(), 2u);
  EXPECT_TRUE(h.worker->idle());
}

TEST(PrefillFailuresTest, RefusedKvLivesUntilItsLeaseEnds) {
  PrefillHarness h;
  auto r = BringTo(h, Stage::kRefused);
  h.Advance(seconds(29));
  EXPECT_FALSE(r->closed.has_value());
  h.Advance(seconds(1));
  EXPECT_EQ(r->closed->code(), absl::StatusCode::kAborted);
  EXPECT_TRUE(h.worker->idle());
}

TEST(PrefillFailuresTest, GrantedRequestDisplacesOneWithoutGrant) {
  PrefillHarness h;
  h.d0->script.grant = false;
  auto holder = h.Start({.id = 1, .prompt = MakePrompt(kHalfOfPages, 1)});
  h.Settle();
  ASSERT_NE(holder->first_token(), nullptr);
  auto waits = h.Start({.id = 2, .prompt = MakePrompt(kHalfOfPages, 2)});
  h.Settle();
  EXPECT_EQ(waits->first_token(), nullptr);  // a younger one without Grant displaces nobody
  EXPECT_FALSE(holder->closed.has_value());
  auto granted = h.Start({.id = 3, .prompt = MakePrompt(kHalfOfPages, 3), .decode = "d1"});
  h.Settle();
  EXPECT_NE(granted->delivered(), nullptr);  // it overtakes, because it ends by itself
  ASSERT_TRUE(holder->closed.has_value());
  EXPECT_EQ(holder->closed->code(), absl::StatusCode::kAborted);
  EXPECT_EQ(holder->refused()->code(), v1::REFUSE_CODE_KV_DROPPED);
  EXPECT_NE(waits->first_token(), nullptr);
  EXPECT_FALSE(waits->closed.has_value());
}

TEST(PrefillFailuresTest, GrantedKvIsNeverDropped) {
  PrefillHarness h;
  h.d0->script.commit = false;
  auto holder = h.Start({.id = 1, .prompt = MakePrompt(kHalfOfPages, 1)});
  h.Settle();
  auto waits = h.Start({.id = 2, .prompt = MakePrompt(kHalfOfPages, 2), .decode = "d1"});
  h.Settle();
  EXPECT_FALSE(holder->closed.has_value());
  EXPECT_EQ(waits->first_token(), nullptr);
  EXPECT_EQ(h.worker->Load().queued(), 1u);
  v1::HandoffResponse committed;
  committed.mutable_committed()->set_first_token(holder->first_token()->token_id());
  h.d0->Send(committed);
  h.Settle();
  EXPECT_NE(holder->delivered(), nullptr);
  EXPECT_NE(waits->delivered(), nullptr);
  EXPECT_TRUE(h.worker->idle());
}

TEST(PrefillFailuresTest, DrainFinishesWhatIsAcceptedAndRefusesTheRest) {
  PrefillHarness h;
  h.d0->script.grant = false;
  auto r = h.Start({.id = 1, .prompt = MakePrompt(20, 1)});
  h.Deliver();
  h.worker->Drain(h.clock.Now() + seconds(120));
  EXPECT_TRUE(h.worker->Load().draining());
  EXPECT_FALSE(h.worker->Load().ready());
  auto late = h.Start({.id = 2, .prompt = MakePrompt(20, 2)});
  h.Settle();
  EXPECT_EQ(late->closed->code(), absl::StatusCode::kUnavailable);
  EXPECT_NE(r->first_token(), nullptr);
  h.d0->Refuse(v1::REFUSE_CODE_NO_ROOM);
  h.Settle();
  r->Rebind(2, "d1");
  h.Settle();
  EXPECT_NE(r->delivered(), nullptr);
  EXPECT_TRUE(h.worker->idle());
}

TEST(PrefillFailuresTest, DrainHasAnEnd) {
  PrefillHarness h;
  h.d0->script.commit = false;
  auto r = h.Start({.prompt = MakePrompt(20, 1)});
  h.Settle();
  h.worker->Drain(h.clock.Now() + seconds(1));
  h.Advance(seconds(1));
  EXPECT_EQ(r->closed->code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(h.d0->last(Kind::kAbort)->abort().reason(), v1::ABORT_REASON_SHUTDOWN);
  EXPECT_TRUE(h.worker->idle());
}

TEST(PrefillFailuresTest, MalformedAnswersBreakTheLink) {
  PrefillHarness h;
  h.d0->script.grant = false;
  auto r = h.Start({.prompt = MakePrompt(20, 1)});
  h.Settle();
  h.d0->Renew({});
  h.Settle();
  EXPECT_EQ(r->refused(), nullptr);
  v1::HandoffResponse wrong;
  wrong.mutable_accepted()->mutable_decode()->set_worker_id("somebody else");
  h.d0->Send(wrong);
  h.Settle();
  ASSERT_NE(r->refused(), nullptr);
  EXPECT_EQ(r->refused()->code(), v1::REFUSE_CODE_HANDOFF_LOST);
}

}  // namespace
}  // namespace baton
