// How a decode worker takes KV in, stepped message by message: order, damage, loss.
#include "decode_node/slab_intake.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/metrics/names.h"
#include "tests/decode_node/handoff_fixture.h"

namespace baton {
namespace {

using ::testing::IsEmpty;
using SlabIntakeTest = HandoffTest;

// Slabs -------------------------------------------------------------------------------------------

TEST_F(SlabIntakeTest, DuplicatedSlabIsDroppedWithoutASecondAck) {
  Build();
  StartGranted();
  const auto slab = SendOne(0, prefill->Ranges(0, 16)[0]);
  prefill->SendSlab(slab);
  h->Run();
  EXPECT_EQ(prefill->count(Case::kAck), 1);
  EXPECT_EQ(Dropped("duplicate"), 1);
  prefill->Ask(kTransfer, 1, 0, prefill->Ranges(0, 16)[0]);
  h->Run();
  EXPECT_EQ(prefill->count(Case::kCredit), 1);
}

TEST_F(SlabIntakeTest, OverlappingSlabFailsTheTransfer) {
  Build();
  StartGranted();
  SendOne(0, {0, 2, 0, 2, 0, 16});
  prefill->Ask(kTransfer, 1, 1, {0, 1, 0, 1, 15, 20});
  h->Run();
  ExpectDataLoss();
}

TEST_F(SlabIntakeTest, OverlapOfTwoCreditedSlabsFailsBeforeTheSecondLands) {
  Build();
  StartGranted();
  prefill->Ask(kTransfer, 1, 0, {0, 2, 0, 2, 0, 16});
  prefill->Ask(kTransfer, 1, 1, {0, 1, 0, 1, 15, 20});
  h->Run();
  EXPECT_EQ(prefill->count(Case::kCredit), 2);
  prefill->SendSlab(prefill->Pack(kTransfer, 1, 0, {0, 2, 0, 2, 0, 16}));
  h->Run();
  prefill->SendSlab(prefill->Pack(kTransfer, 1, 1, {0, 1, 0, 1, 15, 20}));
  h->Run();
  ExpectDataLoss();
}

TEST_F(SlabIntakeTest, BadChecksumIsAcknowledgedAndMayBeSentAgain) {
  Build();
  StartGranted();
  const auto range = prefill->Ranges(0, 40).front();
  const kernels::SlabRange first{range.l0, range.l1, range.h0, range.h1, 0, 20};
  prefill->Ask(kTransfer, 1, 0, first);
  h->Run();
  auto spoiled = prefill->Pack(kTransfer, 1, 0, first);
  spoiled.payload[77] ^= std::byte{4};
  prefill->SendSlab(spoiled);
  h->Run();
  EXPECT_EQ(prefill->ack(0), v1::ACK_CODE_BAD_CHECKSUM);
  EXPECT_EQ(h->worker->arena().used(), 0u);
  auto good = SendOne(0, first);
  EXPECT_EQ(prefill->ack(0), v1::ACK_CODE_OK);
  const auto second = SendOne(1, {range.l0, range.l1, range.h0, range.h1, 20, 40});
  prefill->Commit(kTransfer, 1, 0, prefill->first_token(), {good, second});
  h->Run();
  EXPECT_EQ(call->tokens(), h->Expected(prompt, 6));
  EXPECT_EQ(h->Counter(metric::kKvValidationFailures), 1);
}

TEST_F(SlabIntakeTest, SlabOutsideTheWantedTokensIsOutOfBounds) {
  Build();
  StartGranted();
  prefill->Ask(kTransfer, 1, 0, {0, 2, 0, 2, 30, 41});
  prefill->Ask(kTransfer, 1, 1, {0, 3, 0, 2, 0, 10});
  prefill->Ask(kTransfer, 1, 2, {0, 2, 0, 0, 0, 10});
  h->Run();
  for (uint32_t slab : {0u, 1u, 2u}) {
    EXPECT_EQ(prefill->ack(slab), v1::ACK_CODE_OUT_OF_BOUNDS);
  }
  EXPECT_EQ(prefill->count(Case::kCredit), 0);
}

TEST_F(SlabIntakeTest, HeaderThatContradictsItsCreditIsOutOfBounds) {
  Build();
  StartGranted();
  prefill->Ask(kTransfer, 1, 0, {0, 2, 0, 2, 0, 16});
  h->Run();
  prefill->SendSlab(prefill->Pack(kTransfer, 1, 0, {0, 2, 0, 2, 16, 32}));
  h->Run();
  EXPECT_EQ(prefill->ack(0), v1::ACK_CODE_OUT_OF_BOUNDS);
  EXPECT_EQ(h->worker->arena().used(), 0u);
}

TEST_F(SlabIntakeTest, TruncatedSlabIsBad) {
  Build();
  StartGranted();
  prefill->Ask(kTransfer, 1, 0, {0, 2, 0, 2, 0, 16});
  h->Run();
  auto slab = prefill->Pack(kTransfer, 1, 0, {0, 2, 0, 2, 0, 16});
  slab.payload.erase(slab.payload.end() - 5, slab.payload.end());
  prefill->SendSlab(slab);
  h->Run();
  EXPECT_EQ(prefill->ack(0), v1::ACK_CODE_BAD_CHECKSUM);
}

TEST_F(SlabIntakeTest, SlabWithoutCreditOrOfAnotherSenderIsDropped) {
  Build();
  StartGranted();
  prefill->SendSlab(prefill->Pack(kTransfer, 1, 5, {0, 2, 0, 2, 0, 16}));
  h->Run();
  EXPECT_EQ(Dropped("unknown"), 1);
  prefill->Ask(kTransfer, 1, 0, {0, 2, 0, 2, 0, 16});
  h->Run();
  HandPrefill forger(*h, PrefillKey(2));
  forger.Compute(prompt);
  forger.SendSlab(forger.Pack(kTransfer, 1, 0, {0, 2, 0, 2, 0, 16}));
  h->Run();
  EXPECT_EQ(Dropped("late"), 1);
  EXPECT_EQ(prefill->count(Case::kAck), 0);
}

TEST_F(SlabIntakeTest, SlabLargerThanGrantedFailsTheTransfer) {
  Build();
  StartGranted();
  prefill->Ask(kTransfer, 1, 0, {0, 2, 0, 2, 0, 40});
  h->Run();
  ExpectDataLoss();
}

TEST_F(SlabIntakeTest, CommitWithAnotherDigestIsDataLoss) {
  Build();
  StartGranted();
  const auto a = SendOne(0, {0, 2, 0, 2, 0, 20});
  auto b = SendOne(1, {0, 2, 0, 2, 20, 40});
  b.header.checksum ^= 1;
  prefill->Commit(kTransfer, 1, 0, prefill->first_token(), {a, b});
  h->Run();
  ExpectDataLoss();
}

TEST_F(SlabIntakeTest, CommitOfFewerSlabsThanTileIsDataLoss) {
  Build();
  StartGranted();
  const auto a = SendOne(0, {0, 2, 0, 2, 0, 20});
  prefill->Commit(kTransfer, 1, 0, prefill->first_token(), {a});
  h->Run();
  ExpectDataLoss();
}

TEST_F(SlabIntakeTest, CommitOfOtherTokensIsDataLoss) {
  Build();
  StartGranted();
  prefill->Commit(kTransfer, 1, 16, prefill->first_token(), {});
  h->Run();
  ExpectDataLoss();
}

// Credit ------------------------------------------------------------------------------------------

TEST_F(SlabIntakeTest, CreditIsFirstComeFirstServedAcrossTransfers) {
  Harness::Options options;
  options.slab_bytes = 8192;
  options.arena_bytes = 16384;
  options.page_count = 32;
  Build(options);
  StartGranted(60);
  auto other = h->Start(MakeTransfer(2), MakePrompt(60, 1), 6);
  prefill->Open(MakeTransfer(2), 1, 60);
  h->Run();
  // 30 tokens take 7680 bytes: two fit.
  prefill->Ask(kTransfer, 1, 0, {0, 2, 0, 2, 0, 30});
  prefill->Ask(kTransfer, 1, 1, {0, 2, 0, 2, 30, 60});
  prefill->Ask(MakeTransfer(2), 1, 0, {0, 2, 0, 2, 0, 30});
  prefill->Ask(kTransfer, 1, 2, {0, 2, 0, 2, 0, 1});  // small, but may not overtake
  h->Run();
  EXPECT_EQ(prefill->count(Case::kCredit), 2);
  EXPECT_LE(h->worker->arena().used(), options.arena_bytes);
  prefill->SendSlab(prefill->Pack(kTransfer, 1, 0, {0, 2, 0, 2, 0, 30}));
  h->Run();
  const auto* credit = prefill->last(Case::kCredit);
  EXPECT_EQ(prefill->count(Case::kCredit), 4);
  EXPECT_EQ(credit->transfer_id(), kTransfer.ToBytes());
  EXPECT_EQ(credit->credit().slab(), 2u);
}

TEST_F(SlabIntakeTest, EndOfATransferReturnsItsCredit) {
  Harness::Options options;
  options.arena_bytes = 16384;
  options.page_count = 32;
  Build(options);
  StartGranted(60);
  auto other = h->Start(MakeTransfer(2), MakePrompt(60, 1), 6);
  prefill->Open(MakeTransfer(2), 1, 60);
  prefill->Ask(kTransfer, 1, 0, {0, 2, 0, 2, 0, 30});
  prefill->Ask(kTransfer, 1, 1, {0, 2, 0, 2, 30, 60});
  prefill->Ask(MakeTransfer(2), 1, 0, {0, 2, 0, 2, 0, 30});
  h->Run();
  EXPECT_EQ(prefill->count(Case::kCredit), 2);
  prefill->Abort(kTransfer, 1, v1::ABORT_REASON_REBOUND);
  h->Run();
  EXPECT_EQ(prefill->count(Case::kCredit), 3);
  EXPECT_EQ(prefill->last(Case::kCredit)->transfer_id(), MakeTransfer(2).ToBytes());
}

TEST_F(SlabIntakeTest, SpanWithATransferInFlightIsQuarantined) {
  Harness::Options options;
  options.step_transport = true;
  Build(options);
  StartGranted();
  prefill->Ask(kTransfer, 1, 0, {0, 2, 0, 2, 0, 16});
  h->Run();
  prefill->SendSlab(prefill->Pack(kTransfer, 1, 0, {0, 2, 0, 2, 0, 16}));
  const auto announce = h->transport_lanes.Waiting();
  ASSERT_EQ(announce.size(), 1u);
  h->transport_lanes.Deliver(announce[0]);
  h->Run();
  ASSERT_EQ(h->transport_lanes.Waiting().size(), 1u);  // the payload, accepted
  h->Cancel(*call, v1::CANCEL_REASON_CLIENT);
  EXPECT_GT(h->worker->arena().used(), 0u);
  h->transport_lanes.DeliverAll();
  h->Run();
  EXPECT_EQ(h->worker->arena().used(), 0u);
  EXPECT_EQ(Dropped("late"), 1);
  EXPECT_TRUE(h->worker->idle());
}

// Attempts, loss and leases -----------------------------------------------------------------------

TEST_F(SlabIntakeTest, RebindForgetsSlabsAndCommitOfTheFormerAttempt) {
  Build();
  StartGranted();
  const auto a = SendOne(0, {0, 2, 0, 2, 0, 20});
  prefill->Commit(kTransfer, 1, 0, prefill->first_token(), {a});
  // Both slabs were announced, one arrived: the commit waits… and the router rebinds.
  auto fresh = std::make_unique<HandPrefill>(*h, PrefillKey(2));
  fresh->Hello();
  h->mailbox.RunAll();
  call = h->Start(MakeTransfer(3), prompt, 6);
  HandPrefill& second = *fresh;
  second.Compute(prompt);
  HandPrefill third(*h, PrefillKey());
  third.Hello();
  third.Open(MakeTransfer(3), 1, 40);
  h->Run();
  third.Compute(prompt);
  third.Ask(MakeTransfer(3), 1, 0, {0, 2, 0, 2, 0, 20});
  h->Run();
  third.SendSlab(third.Pack(MakeTransfer(3), 1, 0, {0, 2, 0, 2, 0, 20}));
  h->Run();
  h->Rebind(*call, 2, PrefillKey(2));
  second.Open(MakeTransfer(3), 2, 40);
  h->Run();
  // A slab of the former attempt is late now; all of the prompt comes again.
  third.SendSlab(third.Pack(MakeTransfer(3), 1, 0, {0, 2, 0, 2, 0, 20}));
  h->Run();
  EXPECT_GE(Dropped("late"), 1);
  h->HandOver(second, MakeTransfer(3), 2, prompt, 20);
  EXPECT_EQ(call->tokens(), h->Expected(prompt, 6));
  EXPECT_EQ(call->committed()->attempt(), 2u);
}

TEST_F(SlabIntakeTest, RebindWhileAScatterRunsKeepsItsPages) {
  Build();
  StartGranted();
  prefill->Ask(kTransfer, 1, 0, {0, 2, 0, 2, 0, 16});
  h->Run();
  prefill->SendSlab(prefill->Pack(kTransfer, 1, 0, {0, 2, 0, 2, 0, 16}));
  h->mailbox.RunAll();
  ASSERT_EQ(h->executor.waiting(Lane::kCopy), 1);
  v1::DecodeRequest cancel;
  cancel.mutable_cancel()->set_reason(v1::CANCEL_REASON_CLIENT);
  call->stream->Send(cancel).IgnoreError();
  h->mailbox.RunAll();
  EXPECT_GT(h->worker->pages().allocator().used_count(), 0);
  EXPECT_GT(h->worker->arena().used(), 0u);
  h->Run();
  EXPECT_TRUE(h->worker->idle());
  EXPECT_EQ(h->worker->pages().allocator().used_count(), 0);
}

TEST_F(SlabIntakeTest, RebindOfACompleteReservationChangesNothing) {
  Build();
  StartGranted();
  std::vector<HandPrefill::Slab> slabs;
  slabs.push_back(SendOne(0, {0, 2, 0, 2, 0, 20}));
  slabs.push_back(SendOne(1, {0, 2, 0, 2, 20, 40}));
  prefill->Commit(kTransfer, 1, 0, prefill->first_token(), slabs);
  h->mailbox.RunAll();
  ASSERT_NE(call->committed(), nullptr);
  v1::DecodeRequest rebind;
  rebind.mutable_rebind()->set_attempt(2);
  *rebind.mutable_rebind()->mutable_prefill()->mutable_identity() = IdentityOf(PrefillKey(2));
  call->stream->Send(rebind).IgnoreError();
  HandPrefill second(*h, PrefillKey(2));
  second.Hello();
  second.Open(kTransfer, 2, 40);
  h->mailbox.RunAll();
  EXPECT_EQ(call->committed()->attempt(), 2u);
  EXPECT_EQ(second.last(Case::kRefuse)->refuse().code(), v1::REFUSE_CODE_ALREADY_COMMITTED);
  h->Run();
  EXPECT_EQ(call->tokens(), h->Expected(prompt, 6));
  // Also after its end.
  HandPrefill late(*h, PrefillKey(2));
  late.Hello();
  late.Open(kTransfer, 2, 40);
  h->Run();
  EXPECT_EQ(late.last(Case::kRefuse)->refuse().code(), v1::REFUSE_CODE_ALREADY_COMMITTED);
}

TEST_F(SlabIntakeTest, LostStreamKeepsTheReservationForARebind) {
  Build();
  StartGranted();
  SendOne(0, {0, 2, 0, 2, 0, 16});
  prefill->Ask(kTransfer, 1, 1, {0, 2, 0, 2, 16, 32});
  h->Run();
  prefill->Drop();
  h->Run();
  EXPECT_FALSE(call->closed.has_value());
  EXPECT_EQ(h->worker->arena().used(), 0u);
  HandPrefill again(*h, PrefillKey());
  again.Hello();
  again.Open(kTransfer, 1, 40);
  h->Run();
  EXPECT_EQ(again.last(Case::kRefuse)->refuse().code(), v1::REFUSE_CODE_HANDOFF_LOST);
  h->Rebind(*call, 2);
  again.Open(kTransfer, 2, 40);
  h->Run();
  h->HandOver(again, kTransfer, 2, prompt);
  EXPECT_EQ(call->tokens(), h->Expected(prompt, 6));
}

TEST_F(SlabIntakeTest, LeaseThatIsNotRenewedEndsTheAttempt) {
  Build();
  StartGranted();
  prefill->Ask(kTransfer, 1, 0, {0, 2, 0, 2, 0, 16});
  h->Run();
  h->Pass(std::chrono::seconds(29));
  prefill->Renew({kTransfer});
  h->Run();
  h->Pass(std::chrono::seconds(19));
  EXPECT_EQ(prefill->last(Case::kAbort), nullptr);
  h->Pass(std::chrono::seconds(2));
  ASSERT_NE(prefill->last(Case::kAbort), nullptr);
  EXPECT_EQ(prefill->last(Case::kAbort)->abort().reason(), v1::ABORT_REASON_LEASE_EXPIRED);
  EXPECT_EQ(h->worker->arena().used(), 0u);
  EXPECT_EQ(h->Counter(metric::kKvLeasesExpired), 1);
  EXPECT_FALSE(call->closed.has_value());
  // The other side's pages were renewed every five seconds meanwhile.
  EXPECT_GE(prefill->count(Case::kRenew), 9);
}

TEST_F(SlabIntakeTest, AbortFinishedEndsOkAtEachStage) {
  Build();
  StartGranted();
  prefill->Abort(kTransfer, 1, v1::ABORT_REASON_FINISHED);
  h->Run();
  ASSERT_TRUE(call->closed.has_value());
  EXPECT_TRUE(call->closed->ok());
  EXPECT_THAT(call->tokens(), IsEmpty());
  // Before its Open.
  auto early = h->Start(MakeTransfer(2), prompt, 6);
  prefill->Abort(MakeTransfer(2), 1, v1::ABORT_REASON_FINISHED);
  h->Run();
  EXPECT_TRUE(early->closed.has_value() && early->closed->ok());
  EXPECT_TRUE(h->worker->idle());
}

TEST_F(SlabIntakeTest, AbortDataLossFailsTheRequest) {
  Build();
  StartGranted();
  prefill->Abort(kTransfer, 1, v1::ABORT_REASON_DATA_LOSS);
  h->Run();
  ASSERT_TRUE(call->closed.has_value());
  EXPECT_EQ(call->closed->code(), absl::StatusCode::kDataLoss);
}

TEST_F(SlabIntakeTest, AbortOfAnotherWorkerIsIgnored) {
  Build();
  StartGranted();
  HandPrefill stranger(*h, PrefillKey(2));
  stranger.Hello();
  stranger.Abort(kTransfer, 1, v1::ABORT_REASON_FINISHED);
  h->Run();
  EXPECT_FALSE(call->closed.has_value());
}

}  // namespace
}  // namespace baton
