// Opens and hand-over streams of a decode worker, stepped message by message.
#include "decode_node/open_desk.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/decode_node/handoff_fixture.h"

namespace baton {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using OpenDeskTest = HandoffTest;

// Opens -------------------------------------------------------------------------------------------

TEST_F(OpenDeskTest, OpenBeforeStartIsParkedAndThenGranted) {
  Build();
  prefill->Open(kTransfer, 1, 40);
  h->Run();
  EXPECT_EQ(h->worker->parked_opens(), 1);
  EXPECT_EQ(prefill->last(Case::kGrant), nullptr);
  call = h->Start(kTransfer, MakePrompt(40), 6);
  EXPECT_NE(prefill->last(Case::kGrant), nullptr);
  EXPECT_EQ(h->worker->parked_opens(), 0);
}

TEST_F(OpenDeskTest, OpenBeforeRebindIsParkedAndThenGranted) {
  Build();
  StartGranted();
  prefill->Open(kTransfer, 2, 40);
  h->Run();
  EXPECT_EQ(prefill->count(Case::kGrant), 1);
  h->Rebind(*call, 2);
  EXPECT_EQ(prefill->count(Case::kGrant), 2);
  EXPECT_EQ(prefill->last(Case::kGrant)->attempt(), 2u);
}

TEST_F(OpenDeskTest, ParkedOpenOfAnUnknownTransferIsRefusedAfterThreeSeconds) {
  Build();
  prefill->Open(kTransfer, 1, 40);
  h->Run();
  h->Pass(std::chrono::milliseconds(2500));
  EXPECT_EQ(Refusal(), std::nullopt);
  h->Pass(std::chrono::milliseconds(500));
  EXPECT_EQ(Refusal(), v1::REFUSE_CODE_UNKNOWN_TRANSFER);
  EXPECT_TRUE(h->worker->idle());
}

TEST_F(OpenDeskTest, ParkedOpenWaitsWithItsQueuedStartAndIsRenewed) {
  Build();
  auto holder = h->Start(MakeTransfer(9), MakePrompt(200), 40);
  call = h->Start(kTransfer, MakePrompt(40), 6);
  EXPECT_THAT(call->reserved(), IsEmpty());
  prefill->Open(kTransfer, 1, 40);
  h->Run();
  h->Pass(std::chrono::seconds(20));
  EXPECT_EQ(Refusal(), std::nullopt);
  ASSERT_NE(prefill->last(Case::kRenew), nullptr);
  EXPECT_THAT(prefill->last(Case::kRenew)->renew().transfer_ids(),
              ElementsAre(kTransfer.ToBytes()));
  h->Cancel(*holder, v1::CANCEL_REASON_CLIENT);
  EXPECT_NE(prefill->last(Case::kGrant), nullptr);
}

TEST_F(OpenDeskTest, TooManyParkedOpensAreBusy) {
  Build();
  for (uint64_t i = 0; i < 1025; ++i) prefill->Open(MakeTransfer(100 + i), 1, 40);
  h->Run();
  EXPECT_EQ(h->worker->parked_opens(), 1024);
  EXPECT_EQ(prefill->count(Case::kRefuse), 1);
  EXPECT_EQ(Refusal(), v1::REFUSE_CODE_BUSY);
  EXPECT_EQ(prefill->last(Case::kRefuse)->transfer_id(), MakeTransfer(1124).ToBytes());
}

TEST_F(OpenDeskTest, AbortRemovesAParkedOpen) {
  Build();
  prefill->Open(kTransfer, 1, 40);
  prefill->Abort(kTransfer, 1, v1::ABORT_REASON_KV_DROPPED);
  h->Run();
  EXPECT_EQ(h->worker->parked_opens(), 0);
  call = h->Start(kTransfer, MakePrompt(40), 6);
  EXPECT_EQ(prefill->last(Case::kGrant), nullptr);
}

TEST_F(OpenDeskTest, LostSessionTakesItsParkedOpensAlong) {
  Build();
  prefill->Open(kTransfer, 1, 40);
  h->Run();
  prefill->Drop();
  h->Run();
  EXPECT_EQ(h->worker->parked_opens(), 0);
}

TEST_F(OpenDeskTest, TombstoneAnswersAnEndedTransferAtOnceForTenSeconds) {
  Build();
  call = h->Start(kTransfer, MakePrompt(40), 6);
  h->Cancel(*call, v1::CANCEL_REASON_CLIENT);
  prefill->Open(kTransfer, 1, 40);
  h->Run();
  EXPECT_EQ(Refusal(), v1::REFUSE_CODE_ENDED);
  h->Pass(std::chrono::seconds(11));
  prefill->Open(kTransfer, 1, 40);
  h->Run();
  EXPECT_EQ(h->worker->parked_opens(), 1);
}

TEST_F(OpenDeskTest, RefusalThenRebindElsewhereAndBack) {
  Build();
  auto holder = h->Start(MakeTransfer(9), MakePrompt(200), 40);
  // The queue holds four; the fifth is refused and leaves a tombstone.
  std::vector<std::unique_ptr<FakeRouterCall>> queued;
  for (uint64_t i = 0; i < 4; ++i) {
    queued.push_back(h->Start(MakeTransfer(10 + i), MakePrompt(40), 6));
  }
  prefill->Open(kTransfer, 1, 40);
  call = h->Start(kTransfer, MakePrompt(40), 6);
  EXPECT_EQ(call->closed->code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(Refusal(), v1::REFUSE_CODE_NO_ROOM);
  // A higher attempt may come back; its Open is parked until the Start is here.
  prefill->Open(kTransfer, 3, 40);
  h->Run();
  EXPECT_EQ(h->worker->parked_opens(), 1);
  queued.clear();
  h->Cancel(*holder, v1::CANCEL_REASON_CLIENT);
  call = h->Start(kTransfer, MakePrompt(40), 6, 3);
  EXPECT_THAT(call->reserved(), ElementsAre(3));
  EXPECT_EQ(prefill->last(Case::kGrant)->attempt(), 3u);
}

TEST_F(OpenDeskTest, OpenOfAFormerAttemptIsStale) {
  Build();
  call = h->Start(kTransfer, MakePrompt(40), 6, 2);
  prefill->Open(kTransfer, 1, 40);
  h->Run();
  EXPECT_EQ(Refusal(), v1::REFUSE_CODE_STALE);
}

TEST_F(OpenDeskTest, OpenOfAnotherWorkerOrPromptIsBad) {
  Build();
  call = h->Start(kTransfer, MakePrompt(40), 6);
  HandPrefill stranger(*h, PrefillKey(2));
  stranger.Hello();
  stranger.Open(kTransfer, 1, 40);
  prefill->Open(kTransfer, 1, 41);
  h->Run();
  EXPECT_EQ(stranger.last(Case::kRefuse)->refuse().code(), v1::REFUSE_CODE_BAD_OPEN);
  ASSERT_EQ(Refusal(), v1::REFUSE_CODE_BAD_OPEN);
  const auto& mismatch = prefill->last(Case::kRefuse)->refuse().mismatches(0);
  EXPECT_EQ(mismatch.field(), "prompt_tokens");
  EXPECT_EQ(mismatch.left(), "41");
  EXPECT_EQ(mismatch.right(), "40");
  // The right one still gets through.
  prefill->Open(kTransfer, 1, 40);
  h->Run();
  EXPECT_NE(prefill->last(Case::kGrant), nullptr);
}

TEST_F(OpenDeskTest, ContractMismatchNamesTheField) {
  Build();
  call = h->Start(kTransfer, MakePrompt(40), 6);
  prefill->contract.mutable_geometry()->set_head_dim(32);
  prefill->Open(kTransfer, 1, 40);
  h->Run();
  ASSERT_EQ(Refusal(), v1::REFUSE_CODE_CONTRACT);
  EXPECT_THAT(prefill->last(Case::kRefuse)->refuse().mismatches(0).field(), HasSubstr("head_dim"));
}

TEST_F(OpenDeskTest, OversizedOpenIsBad) {
  Build();
  v1::HandoffOpen open;
  open.set_request_id(std::string(5000, 'x'));
  prefill->Open(kTransfer, 1, open);
  h->Run();
  EXPECT_EQ(Refusal(), v1::REFUSE_CODE_BAD_OPEN);
}

TEST_F(OpenDeskTest, RepeatedOpenRepeatsTheGrant) {
  Build();
  StartGranted();
  prefill->Open(kTransfer, 1, 40);
  h->Run();
  EXPECT_EQ(prefill->count(Case::kGrant), 2);
  EXPECT_EQ(prefill->count(Case::kRefuse), 0);
}

TEST_F(OpenDeskTest, OpenOnAnotherStreamOfTheSameAttemptIsLost) {
  Build();
  StartGranted();
  HandPrefill again(*h, PrefillKey());
  again.Hello();
  again.Open(kTransfer, 1, 40);
  h->Run();
  EXPECT_EQ(again.last(Case::kRefuse)->refuse().code(), v1::REFUSE_CODE_HANDOFF_LOST);
}

// Sessions ----------------------------------------------------------------------------------------

TEST_F(OpenDeskTest, HelloForAnotherIncarnationIsRefused) {
  Build();
  HandPrefill stranger(*h, PrefillKey(2));
  v1::WorkerIdentity former = h->identity;
  former.set_incarnation(6);
  stranger.Hello(former);
  h->Run();
  ASSERT_TRUE(stranger.closed.has_value());
  EXPECT_EQ(stranger.closed->code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(OpenDeskTest, MalformedMessagesEndTheStream) {
  Build();
  auto expect_end = [&](v1::HandoffRequest message, bool greet = true) {
    HandPrefill peer(*h, PrefillKey(3));
    if (greet) peer.Hello();
    peer.Send(std::move(message));
    h->Run();
    ASSERT_TRUE(peer.closed.has_value());
    EXPECT_EQ(peer.closed->code(), absl::StatusCode::kInvalidArgument);
  };
  v1::HandoffRequest open;
  open.set_transfer_id(kTransfer.ToBytes());
  open.set_attempt(1);
  open.mutable_open();
  expect_end(open, /*greet=*/false);
  open.set_attempt(0);
  expect_end(open);
  open.set_attempt(1);
  open.set_transfer_id("too short");
  expect_end(open);
  expect_end(v1::HandoffRequest());
  v1::HandoffRequest slab;
  slab.mutable_slab();
  expect_end(slab);
  v1::HandoffRequest renew;
  renew.mutable_renew()->add_transfer_ids("x");
  expect_end(renew);
}

}  // namespace
}  // namespace baton
