// How a decode worker takes KV in, stepped message by message: order, duplicates, damage, loss.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/metrics/names.h"
#include "decode_node/decode_worker.h"
#include "tests/decode_node/harness.h"

namespace baton {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Case = v1::HandoffResponse::MessageCase;

const TransferId kTransfer = MakeTransfer(1);

// A started request with a granted Open, its prompt computed on the prefill side.
class HandoffTest : public ::testing::Test {
 protected:
  void Build(Harness::Options options = {}) {
    h = std::make_unique<Harness>(options);
    prefill = std::make_unique<HandPrefill>(*h, PrefillKey());
    prefill->Hello();
  }
  void StartGranted(int tokens = 40) {
    prompt = MakePrompt(tokens);
    call = h->Start(kTransfer, prompt, 6);
    prefill->Open(kTransfer, 1, static_cast<uint32_t>(tokens));
    h->Run();
    ASSERT_NE(prefill->last(Case::kGrant), nullptr);
    prefill->Compute(prompt);
  }
  HandPrefill::Slab SendOne(uint32_t number, const kernels::SlabRange& range,
                            uint32_t attempt = 1) {
    prefill->Ask(kTransfer, attempt, number, range);
    h->Run();
    auto slab = prefill->Pack(kTransfer, attempt, number, range);
    prefill->SendSlab(slab);
    h->Run();
    return slab;
  }
  std::optional<v1::RefuseCode> Refusal() const {
    const auto* refuse = prefill->last(Case::kRefuse);
    return refuse == nullptr ? std::nullopt : std::optional(refuse->refuse().code());
  }
  double Dropped(const char* reason) {
    return h->Counter(metric::kKvSlabsDropped, {{"reason", reason}});
  }
  void ExpectDataLoss() {
    ASSERT_TRUE(call->closed.has_value());
    EXPECT_EQ(call->closed->code(), absl::StatusCode::kDataLoss);
    ASSERT_NE(prefill->last(Case::kAbort), nullptr);
    EXPECT_EQ(prefill->last(Case::kAbort)->abort().reason(), v1::ABORT_REASON_DATA_LOSS);
    EXPECT_TRUE(h->worker->idle());
  }

  std::unique_ptr<Harness> h;
  std::unique_ptr<HandPrefill> prefill;
  std::unique_ptr<FakeRouterCall> call;
  std::vector<int32_t> prompt;
};

// Opens -------------------------------------------------------------------------------------------

TEST_F(HandoffTest, OpenBeforeStartIsParkedAndThenGranted) {
  Build();
  prefill->Open(kTransfer, 1, 40);
  h->Run();
  EXPECT_EQ(h->worker->parked_opens(), 1);
  EXPECT_EQ(prefill->last(Case::kGrant), nullptr);
  call = h->Start(kTransfer, MakePrompt(40), 6);
  EXPECT_NE(prefill->last(Case::kGrant), nullptr);
  EXPECT_EQ(h->worker->parked_opens(), 0);
}

TEST_F(HandoffTest, OpenBeforeRebindIsParkedAndThenGranted) {
  Build();
  StartGranted();
  prefill->Open(kTransfer, 2, 40);
  h->Run();
  EXPECT_EQ(prefill->count(Case::kGrant), 1);
  h->Rebind(*call, 2);
  EXPECT_EQ(prefill->count(Case::kGrant), 2);
  EXPECT_EQ(prefill->last(Case::kGrant)->attempt(), 2u);
}

TEST_F(HandoffTest, ParkedOpenOfAnUnknownTransferIsRefusedAfterThreeSeconds) {
  Build();
  prefill->Open(kTransfer, 1, 40);
  h->Run();
  h->Pass(std::chrono::milliseconds(2500));
  EXPECT_EQ(Refusal(), std::nullopt);
  h->Pass(std::chrono::milliseconds(500));
  EXPECT_EQ(Refusal(), v1::REFUSE_CODE_UNKNOWN_TRANSFER);
  EXPECT_TRUE(h->worker->idle());
}

TEST_F(HandoffTest, ParkedOpenWaitsWithItsQueuedStartAndIsRenewed) {
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

TEST_F(HandoffTest, TooManyParkedOpensAreBusy) {
  Build();
  for (uint64_t i = 0; i < 1025; ++i) prefill->Open(MakeTransfer(100 + i), 1, 40);
  h->Run();
  EXPECT_EQ(h->worker->parked_opens(), 1024);
  EXPECT_EQ(prefill->count(Case::kRefuse), 1);
  EXPECT_EQ(Refusal(), v1::REFUSE_CODE_BUSY);
  EXPECT_EQ(prefill->last(Case::kRefuse)->transfer_id(), MakeTransfer(1124).ToBytes());
}

TEST_F(HandoffTest, AbortRemovesAParkedOpen) {
  Build();
  prefill->Open(kTransfer, 1, 40);
  prefill->Abort(kTransfer, 1, v1::ABORT_REASON_KV_DROPPED);
  h->Run();
  EXPECT_EQ(h->worker->parked_opens(), 0);
  call = h->Start(kTransfer, MakePrompt(40), 6);
  EXPECT_EQ(prefill->last(Case::kGrant), nullptr);
}

TEST_F(HandoffTest, LostSessionTakesItsParkedOpensAlong) {
  Build();
  prefill->Open(kTransfer, 1, 40);
  h->Run();
  prefill->Drop();
  h->Run();
  EXPECT_EQ(h->worker->parked_opens(), 0);
}

TEST_F(HandoffTest, TombstoneAnswersAnEndedTransferAtOnceForTenSeconds) {
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

TEST_F(HandoffTest, RefusalThenRebindElsewhereAndBack) {
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

TEST_F(HandoffTest, OpenOfAFormerAttemptIsStale) {
  Build();
  call = h->Start(kTransfer, MakePrompt(40), 6, 2);
  prefill->Open(kTransfer, 1, 40);
  h->Run();
  EXPECT_EQ(Refusal(), v1::REFUSE_CODE_STALE);
}

TEST_F(HandoffTest, OpenOfAnotherWorkerOrPromptIsBad) {
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

TEST_F(HandoffTest, ContractMismatchNamesTheField) {
  Build();
  call = h->Start(kTransfer, MakePrompt(40), 6);
  prefill->contract.mutable_geometry()->set_head_dim(32);
  prefill->Open(kTransfer, 1, 40);
  h->Run();
  ASSERT_EQ(Refusal(), v1::REFUSE_CODE_CONTRACT);
  EXPECT_THAT(prefill->last(Case::kRefuse)->refuse().mismatches(0).field(), HasSubstr("head_dim"));
}

TEST_F(HandoffTest, OversizedOpenIsBad) {
  Build();
  v1::HandoffOpen open;
  open.set_request_id(std::string(5000, 'x'));
  prefill->Open(kTransfer, 1, open);
  h->Run();
  EXPECT_EQ(Refusal(), v1::REFUSE_CODE_BAD_OPEN);
}

TEST_F(HandoffTest, RepeatedOpenRepeatsTheGrant) {
  Build();
  StartGranted();
  prefill->Open(kTransfer, 1, 40);
  h->Run();
  EXPECT_EQ(prefill->count(Case::kGrant), 2);
  EXPECT_EQ(prefill->count(Case::kRefuse), 0);
}

TEST_F(HandoffTest, OpenOnAnotherStreamOfTheSameAttemptIsLost) {
  Build();
  StartGranted();
  HandPrefill again(*h, PrefillKey());
  again.Hello();
  again.Open(kTransfer, 1, 40);
  h->Run();
  EXPECT_EQ(again.last(Case::kRefuse)->refuse().code(), v1::REFUSE_CODE_HANDOFF_LOST);
}

// Sessions ----------------------------------------------------------------------------------------

TEST_F(HandoffTest, HelloForAnotherIncarnationIsRefused) {
  Build();
  HandPrefill stranger(*h, PrefillKey(2));
  v1::WorkerIdentity former = h->identity;
  former.set_incarnation(6);
  stranger.Hello(former);
  h->Run();
  ASSERT_TRUE(stranger.closed.has_value());
  EXPECT_EQ(stranger.closed->code(), absl::StatusCode::kFailedPrecondition);
}

TEST_F(HandoffTest, MalformedMessagesEndTheStream) {
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

// Slabs -------------------------------------------------------------------------------------------

TEST_F(HandoffTest, DuplicatedSlabIsDroppedWithoutASecondAck) {
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

TEST_F(HandoffTest, OverlappingSlabFailsTheTransfer) {
  Build();
  StartGranted();
  SendOne(0, {0, 2, 0, 2, 0, 16});
  prefill->Ask(kTransfer, 1, 1, {0, 1, 0, 1, 15, 20});
  h->Run();
  ExpectDataLoss();
}

TEST_F(HandoffTest, OverlapOfTwoCreditedSlabsFailsBeforeTheSecondLands) {
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

TEST_F(HandoffTest, BadChecksumIsAcknowledgedAndMayBeSentAgain) {
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

TEST_F(HandoffTest, SlabOutsideTheWantedTokensIsOutOfBounds) {
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

TEST_F(HandoffTest, HeaderThatContradictsItsCreditIsOutOfBounds) {
  Build();
  StartGranted();
  prefill->Ask(kTransfer, 1, 0, {0, 2, 0, 2, 0, 16});
  h->Run();
  prefill->SendSlab(prefill->Pack(kTransfer, 1, 0, {0, 2, 0, 2, 16, 32}));
  h->Run();
  EXPECT_EQ(prefill->ack(0), v1::ACK_CODE_OUT_OF_BOUNDS);
  EXPECT_EQ(h->worker->arena().used(), 0u);
}

TEST_F(HandoffTest, TruncatedSlabIsBad) {
  Build();
  StartGranted();
  prefill->Ask(kTransfer, 1, 0, {0, 2, 0, 2, 0, 16});
  h->Run();
  auto slab = prefill->Pack(kTransfer, 1, 0, {0, 2, 0, 2, 0, 16});
  slab.payload.resize(slab.payload.size() - 5);
  prefill->SendSlab(slab);
  h->Run();
  EXPECT_EQ(prefill->ack(0), v1::ACK_CODE_BAD_CHECKSUM);
}

TEST_F(HandoffTest, SlabWithoutCreditOrOfAnotherSenderIsDropped) {
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

TEST_F(HandoffTest, SlabLargerThanGrantedFailsTheTransfer) {
  Build();
  StartGranted();
  prefill->Ask(kTransfer, 1, 0, {0, 2, 0, 2, 0, 40});
  h->Run();
  ExpectDataLoss();
}

TEST_F(HandoffTest, CommitWithAnotherDigestIsDataLoss) {
  Build();
  StartGranted();
  const auto a = SendOne(0, {0, 2, 0, 2, 0, 20});
  auto b = SendOne(1, {0, 2, 0, 2, 20, 40});
  b.header.checksum ^= 1;
  prefill->Commit(kTransfer, 1, 0, prefill->first_token(), {a, b});
  h->Run();
  ExpectDataLoss();
}

TEST_F(HandoffTest, CommitOfFewerSlabsThanTileIsDataLoss) {
  Build();
  StartGranted();
  const auto a = SendOne(0, {0, 2, 0, 2, 0, 20});
  prefill->Commit(kTransfer, 1, 0, prefill->first_token(), {a});
  h->Run();
  ExpectDataLoss();
}

TEST_F(HandoffTest, CommitOfOtherTokensIsDataLoss) {
  Build();
  StartGranted();
  prefill->Commit(kTransfer, 1, 16, prefill->first_token(), {});
  h->Run();
  ExpectDataLoss();
}

// Credit ------------------------------------------------------------------------------------------

TEST_F(HandoffTest, CreditIsFirstComeFirstServedAcrossTransfers) {
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

TEST_F(HandoffTest, EndOfATransferReturnsItsCredit) {
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

TEST_F(HandoffTest, SpanWithATransferInFlightIsQuarantined) {
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

TEST_F(HandoffTest, RebindForgetsSlabsAndCommitOfTheFormerAttempt) {
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

TEST_F(HandoffTest, RebindWhileAScatterRunsKeepsItsPages) {
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

TEST_F(HandoffTest, RebindOfACompleteReservationChangesNothing) {
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

TEST_F(HandoffTest, LostStreamKeepsTheReservationForARebind) {
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

TEST_F(HandoffTest, LeaseThatIsNotRenewedEndsTheAttempt) {
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

TEST_F(HandoffTest, AbortFinishedEndsOkAtEachStage) {
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

TEST_F(HandoffTest, AbortDataLossFailsTheRequest) {
  Build();
  StartGranted();
  prefill->Abort(kTransfer, 1, v1::ABORT_REASON_DATA_LOSS);
  h->Run();
  ASSERT_TRUE(call->closed.has_value());
  EXPECT_EQ(call->closed->code(), absl::StatusCode::kDataLoss);
}

TEST_F(HandoffTest, AbortOfAnotherWorkerIsIgnored) {
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
