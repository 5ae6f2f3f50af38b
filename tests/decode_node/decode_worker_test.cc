#include "decode_node/decode_worker.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "common/metrics/names.h"
#include "tests/decode_node/harness.h"

namespace baton {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using Case = v1::HandoffResponse::MessageCase;

TEST(DecodeWorkerTest, HandsOverAndDecodes) {
  Harness h;
  const auto prompt = MakePrompt(40);
  auto call = h.Start(MakeTransfer(1), prompt, 6);
  EXPECT_THAT(call->reserved(), ElementsAre(1));
  HandPrefill prefill(h, PrefillKey());
  prefill.Hello();
  prefill.Open(MakeTransfer(1), 1, 40);
  h.Run();
  ASSERT_NE(prefill.last(Case::kGrant), nullptr);
  EXPECT_EQ(prefill.last(Case::kGrant)->grant().wire_format(), v1::KV_FORMAT_FP16);
  EXPECT_EQ(prefill.last(Case::kGrant)->grant().max_slab_bytes(), h.options.slab_bytes);
  h.HandOver(prefill, MakeTransfer(1), 1, prompt);
  EXPECT_EQ(prefill.count(Case::kAck), 3);
  ASSERT_NE(prefill.last(Case::kCommitted), nullptr);
  ASSERT_NE(call->committed(), nullptr);
  EXPECT_EQ(call->committed()->first_token(), prefill.first_token());
  EXPECT_EQ(call->committed()->slabs(), 3u);
  EXPECT_EQ(call->committed()->tokens(), 40u);
  EXPECT_EQ(call->committed()->bytes_raw(), 40u * 2 * 2 * 16 * 2 * 2);
  EXPECT_EQ(call->tokens(), h.Expected(prompt, 6));
  ASSERT_NE(call->finished(), nullptr);
  EXPECT_EQ(call->finished()->finish_reason(), v1::FINISH_REASON_LENGTH);
  ASSERT_TRUE(call->closed.has_value());
  EXPECT_TRUE(call->closed->ok());
  EXPECT_TRUE(h.worker->idle());
}

TEST(DecodeWorkerTest, WrongBytesGiveWrongTokens) {
  // The oracle itself: a page that is spoiled after the hand-over changes the output.
  Harness h;
  const auto prompt = MakePrompt(40);
  auto call = h.Start(MakeTransfer(1), prompt, 6);
  HandPrefill prefill(h, PrefillKey());
  prefill.Hello();
  prefill.Open(MakeTransfer(1), 1, 40);
  h.Run();
  const int32_t page = h.worker->reservations().Find(MakeTransfer(1))->pages.ids()[1];
  prefill.Compute(prompt);
  std::vector<HandPrefill::Slab> slabs;
  for (const auto& range : prefill.Ranges(0, 20)) {
    const uint32_t number = static_cast<uint32_t>(slabs.size());
    prefill.Ask(MakeTransfer(1), 1, number, range);
    h.Run();
    slabs.push_back(prefill.Pack(MakeTransfer(1), 1, number, range));
    prefill.SendSlab(slabs.back());
    h.Run();
  }
  h.runner->Scribble(page);
  prefill.Commit(MakeTransfer(1), 1, 0, prefill.first_token(), slabs);
  h.Run();
  EXPECT_EQ(call->tokens().size(), 5u);
  EXPECT_NE(call->tokens(), h.Expected(prompt, 6));
}

TEST(DecodeWorkerTest, CommitOvertakesSlabs) {
  Harness h;
  const auto prompt = MakePrompt(33);
  auto call = h.Start(MakeTransfer(1), prompt, 4);
  HandPrefill prefill(h, PrefillKey());
  prefill.Hello();
  prefill.Open(MakeTransfer(1), 1, 33);
  h.Run();
  prefill.Compute(prompt);
  const auto ranges = prefill.Ranges(0, 16);
  std::vector<HandPrefill::Slab> slabs;
  for (uint32_t i = 0; i < ranges.size(); ++i) {
    prefill.Ask(MakeTransfer(1), 1, i, ranges[i]);
    slabs.push_back(prefill.Pack(MakeTransfer(1), 1, i, ranges[i]));
  }
  h.Run();
  prefill.Commit(MakeTransfer(1), 1, 0, prefill.first_token(), slabs);
  h.Run();
  EXPECT_EQ(call->committed(), nullptr);
  for (auto slab = slabs.rbegin(); slab != slabs.rend(); ++slab) {
    EXPECT_EQ(call->committed(), nullptr);
    prefill.SendSlab(*slab);
    h.Run();
  }
  EXPECT_EQ(call->tokens(), h.Expected(prompt, 4));
}

TEST(DecodeWorkerTest, SecondEqualPromptNeedsZeroSlabs) {
  Harness h;
  const auto prompt = MakePrompt(32);
  auto first = h.Start(MakeTransfer(1), prompt, 4);
  HandPrefill prefill(h, PrefillKey());
  prefill.Hello();
  prefill.Open(MakeTransfer(1), 1, 32);
  h.Run();
  h.HandOver(prefill, MakeTransfer(1), 1, prompt);
  auto second = h.Start(MakeTransfer(2), prompt, 4);
  const int free_before = h.worker->pages().allocator().free_count();
  prefill.Open(MakeTransfer(2), 1, 32);
  h.Run();
  ASSERT_NE(prefill.last(Case::kGrant), nullptr);
  EXPECT_EQ(prefill.last(Case::kGrant)->grant().first_wanted(), 32u);
  EXPECT_EQ(h.worker->pages().allocator().free_count(), free_before + 2);
  prefill.Commit(MakeTransfer(2), 1, 32, prefill.first_token(), {});
  h.Run();
  EXPECT_EQ(second->committed()->slabs(), 0u);
  EXPECT_EQ(second->tokens(), h.Expected(prompt, 4));
}

TEST(DecodeWorkerTest, PagesOfAnotherProducerAreNotReused) {
  Harness h;
  const auto prompt = MakePrompt(32);
  auto first = h.Start(MakeTransfer(1), prompt, 4);
  HandPrefill prefill(h, PrefillKey());
  prefill.Hello();
  prefill.Open(MakeTransfer(1), 1, 32);
  h.Run();
  h.HandOver(prefill, MakeTransfer(1), 1, prompt);
  auto second = h.Start(MakeTransfer(2), prompt, 4);
  prefill.contract.mutable_producer()->set_scheme("w8a8");
  prefill.Open(MakeTransfer(2), 1, 32);
  h.Run();
  EXPECT_EQ(prefill.last(Case::kGrant)->grant().first_wanted(), 0u);
}

TEST(DecodeWorkerTest, RebindToAnotherProducerTakesFreshPages) {
  Harness h;
  const auto prompt = MakePrompt(32);
  auto first = h.Start(MakeTransfer(1), prompt, 4);
  HandPrefill prefill(h, PrefillKey());
  prefill.Hello();
  prefill.Open(MakeTransfer(1), 1, 32);
  h.Run();
  h.HandOver(prefill, MakeTransfer(1), 1, prompt);
  auto second = h.Start(MakeTransfer(2), prompt, 4);
  prefill.Open(MakeTransfer(2), 1, 32);
  h.Run();
  EXPECT_EQ(h.worker->reservations().Find(MakeTransfer(2))->matched_pages, 2);
  HandPrefill other(h, PrefillKey(2));
  other.contract.mutable_producer()->set_scheme("w8a8");
  other.Hello();
  h.Rebind(*second, 2, PrefillKey(2));
  EXPECT_THAT(second->reserved(), ElementsAre(1, 2));
  EXPECT_EQ(h.worker->reservations().Find(MakeTransfer(2))->matched_pages, 0);
  other.Open(MakeTransfer(2), 2, 32);
  h.Run();
  EXPECT_EQ(other.last(Case::kGrant)->grant().first_wanted(), 0u);
  h.HandOver(other, MakeTransfer(2), 2, prompt);
  EXPECT_EQ(second->tokens(), h.Expected(prompt, 4));
}

TEST(DecodeWorkerTest, StopTokenEndsTheOutput) {
  Harness h;
  const auto prompt = MakePrompt(20);
  const auto expected = h.Expected(prompt, 10);
  auto call = h.Call();
  auto start = h.StartMessage(MakeTransfer(1), prompt, 10);
  start.mutable_start()->mutable_request()->mutable_sampling()->add_stop_token_ids(expected[3]);
  call->stream->Send(start).IgnoreError();
  HandPrefill prefill(h, PrefillKey());
  prefill.Hello();
  prefill.Open(MakeTransfer(1), 1, 20);
  h.Run();
  h.HandOver(prefill, MakeTransfer(1), 1, prompt);
  EXPECT_EQ(call->tokens(), std::vector<int32_t>(expected.begin(), expected.begin() + 4));
  EXPECT_EQ(call->finished()->finish_reason(), v1::FINISH_REASON_STOP);
  EXPECT_EQ(call->finished()->matched_stop_token(), expected[3]);
}

TEST(DecodeWorkerTest, FirstTokenThatFinishesEndsAtOnce) {
  Harness h;
  const auto prompt = MakePrompt(20);
  auto call = h.Start(MakeTransfer(1), prompt, 1);
  HandPrefill prefill(h, PrefillKey());
  prefill.Hello();
  prefill.Open(MakeTransfer(1), 1, 20);
  h.Run();
  h.HandOver(prefill, MakeTransfer(1), 1, prompt);
  EXPECT_THAT(call->tokens(), IsEmpty());
  EXPECT_EQ(call->finished()->finish_reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_TRUE(h.worker->idle());
}

TEST(DecodeWorkerTest, ManyRequestsShareSteps) {
  Harness::Options options;
  options.page_count = 64;
  options.max_batch = 3;
  Harness h(options);
  HandPrefill prefill(h, PrefillKey());
  prefill.Hello();
  std::vector<std::unique_ptr<FakeRouterCall>> calls;
  for (int i = 0; i < 5; ++i) {
    const auto prompt = MakePrompt(17 + i, i);
    calls.push_back(h.Start(MakeTransfer(i), prompt, 5 + i));
    prefill.Open(MakeTransfer(i), 1, static_cast<uint32_t>(prompt.size()));
    h.Run();
  }
  for (int i = 0; i < 5; ++i) h.HandOver(prefill, MakeTransfer(i), 1, MakePrompt(17 + i, i));
  for (int i = 0; i < 5; ++i) {
    EXPECT_EQ(calls[i]->tokens(), h.Expected(MakePrompt(17 + i, i), 5 + i)) << i;
  }
  EXPECT_TRUE(h.worker->idle());
}

// Admission ---------------------------------------------------------------------------------------

TEST(DecodeWorkerTest, RequestThatCanNeverFitIsInvalid) {
  Harness h;
  auto call = h.Start(MakeTransfer(1), MakePrompt(200), 100);
  ASSERT_TRUE(call->closed.has_value());
  EXPECT_EQ(call->closed->code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(call->closed->message()), HasSubstr("pages"));
}

TEST(DecodeWorkerTest, QueuesThenRefusesThenAdmitsInOrder) {
  Harness::Options options;
  options.max_queue = 2;
  Harness h(options);
  auto holder = h.Start(MakeTransfer(1), MakePrompt(200), 40);  // 15 of 16 pages
  auto second = h.Start(MakeTransfer(2), MakePrompt(100), 28);  // 8
  auto third = h.Start(MakeTransfer(3), MakePrompt(8), 8);      // 1: not before the second
  auto fourth = h.Start(MakeTransfer(4), MakePrompt(8), 8);
  EXPECT_THAT(second->reserved(), IsEmpty());
  EXPECT_THAT(third->reserved(), IsEmpty());
  ASSERT_TRUE(fourth->closed.has_value());
  EXPECT_EQ(fourth->closed->code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(h.worker->Load().queued(), 2u);
  h.Cancel(*holder, v1::CANCEL_REASON_CLIENT);
  EXPECT_EQ(holder->closed->code(), absl::StatusCode::kCancelled);
  EXPECT_THAT(second->reserved(), ElementsAre(1));
  EXPECT_THAT(third->reserved(), ElementsAre(1));
}

TEST(DecodeWorkerTest, WaitingReservationsHoldAtMostTheirShare) {
  Harness::Options options;
  options.max_pending_kv = 0.5;
  Harness h(options);
  auto first = h.Start(MakeTransfer(1), MakePrompt(120), 40);  // 10 pages: the one always allowed
  auto second = h.Start(MakeTransfer(2), MakePrompt(8), 8);    // 1 page is free, the share is not
  EXPECT_THAT(first->reserved(), ElementsAre(1));
  EXPECT_THAT(second->reserved(), IsEmpty());
  HandPrefill prefill(h, PrefillKey());
  prefill.Hello();
  prefill.Open(MakeTransfer(1), 1, 120);
  h.Run();
  prefill.Compute(MakePrompt(120));
  std::vector<HandPrefill::Slab> slabs;
  for (const auto& range : prefill.Ranges(0, 30)) {
    const uint32_t number = static_cast<uint32_t>(slabs.size());
    prefill.Ask(MakeTransfer(1), 1, number, range);
    h.mailbox.RunAll();
    slabs.push_back(prefill.Pack(MakeTransfer(1), 1, number, range));
    prefill.SendSlab(slabs.back());
    h.Run();
  }
  EXPECT_THAT(second->reserved(), IsEmpty());
  prefill.Commit(MakeTransfer(1), 1, 0, prefill.first_token(), slabs);
  h.mailbox.RunAll();
  EXPECT_EQ(first->closed, std::nullopt);
  EXPECT_THAT(second->reserved(), ElementsAre(1));
}

TEST(DecodeWorkerTest, ForeignIncarnationIsUnavailable) {
  Harness h;
  auto call = h.Call();
  auto start = h.StartMessage(MakeTransfer(1), MakePrompt(8), 8);
  start.mutable_start()->set_incarnation(8);
  call->stream->Send(start).IgnoreError();
  h.Run();
  EXPECT_EQ(call->closed->code(), absl::StatusCode::kUnavailable);
}

TEST(DecodeWorkerTest, MalformedStartsAreInvalid) {
  Harness h;
  uint64_t number = 0;
  auto expect_invalid = [&](auto change) {
    auto call = h.Call();
    auto start = h.StartMessage(MakeTransfer(++number), MakePrompt(8), 8);
    change(start);
    call->stream->Send(start).IgnoreError();
    h.Run();
    ASSERT_TRUE(call->closed.has_value());
    EXPECT_EQ(call->closed->code(), absl::StatusCode::kInvalidArgument);
  };
  expect_invalid([](auto& m) { m.mutable_start()->set_transfer_id("short"); });
  expect_invalid([](auto& m) { m.mutable_start()->set_attempt(0); });
  expect_invalid([](auto& m) { m.mutable_start()->mutable_request()->clear_prompt(); });
  expect_invalid([](auto& m) { m.mutable_start()->mutable_request()->set_prompt(0, 1 << 20); });
  expect_invalid([](auto& m) { m.clear_start(); });
  EXPECT_TRUE(h.worker->idle());
}

TEST(DecodeWorkerTest, DeadlineEndsAtAnyStage) {
  Harness h;
  const TimePoint deadline = h.clock.Now() + std::chrono::seconds(5);
  auto silent = h.Call(deadline);
  auto reserved = h.Call(deadline);
  reserved->stream->Send(h.StartMessage(MakeTransfer(1), MakePrompt(200), 40)).IgnoreError();
  auto queued = h.Call(deadline);
  queued->stream->Send(h.StartMessage(MakeTransfer(2), MakePrompt(100), 40)).IgnoreError();
  h.Run();
  h.Pass(std::chrono::seconds(6));
  for (auto* call : {silent.get(), reserved.get(), queued.get()}) {
    ASSERT_TRUE(call->closed.has_value());
    EXPECT_EQ(call->closed->code(), absl::StatusCode::kDeadlineExceeded);
  }
  EXPECT_TRUE(h.worker->idle());
}

TEST(DecodeWorkerTest, DeviceFailureEndsEverything) {
  Harness h;
  const auto prompt = MakePrompt(20);
  auto decoding = h.Start(MakeTransfer(1), prompt, 50);
  auto waiting = h.Start(MakeTransfer(2), prompt, 5);
  HandPrefill prefill(h, PrefillKey());
  prefill.Hello();
  prefill.Open(MakeTransfer(1), 1, 20);
  h.Run();
  // The next use of the device is the scatter.
  h.runner->FailNext(Internal("device lost"));
  prefill.Compute(prompt);
  prefill.Ask(MakeTransfer(1), 1, 0, prefill.Ranges(0, 20)[0]);
  h.Run();
  prefill.SendSlab(prefill.Pack(MakeTransfer(1), 1, 0, prefill.Ranges(0, 20)[0]));
  h.Run();
  EXPECT_EQ(h.worker->health().code(), absl::StatusCode::kInternal);
  EXPECT_EQ(decoding->closed->code(), absl::StatusCode::kUnavailable);
  EXPECT_EQ(waiting->closed->code(), absl::StatusCode::kUnavailable);
  EXPECT_FALSE(h.worker->Load().ready());
  auto later = h.Start(MakeTransfer(3), prompt, 5);
  EXPECT_EQ(later->closed->code(), absl::StatusCode::kUnavailable);
}

// Cancel and drain --------------------------------------------------------------------------------

TEST(DecodeWorkerTest, CancelWhileReceivingTellsThePrefillWorker) {
  Harness h;
  const auto prompt = MakePrompt(40);
  auto call = h.Start(MakeTransfer(1), prompt, 6);
  HandPrefill prefill(h, PrefillKey());
  prefill.Hello();
  prefill.Open(MakeTransfer(1), 1, 40);
  h.Run();
  prefill.Compute(prompt);
  prefill.Ask(MakeTransfer(1), 1, 0, prefill.Ranges(0, 16)[0]);
  h.Run();
  EXPECT_GT(h.worker->arena().used(), 0u);
  h.Cancel(*call, v1::CANCEL_REASON_CLIENT);
  ASSERT_NE(prefill.last(Case::kAbort), nullptr);
  EXPECT_TRUE(h.worker->idle());
}

TEST(DecodeWorkerTest, CancelDuringAStepFreesPagesAfterIt) {
  Harness h;
  const auto prompt = MakePrompt(20);
  auto call = h.Start(MakeTransfer(1), prompt, 6);
  HandPrefill prefill(h, PrefillKey());
  prefill.Hello();
  prefill.Open(MakeTransfer(1), 1, 20);
  h.Run();
  prefill.Compute(prompt);
  const auto range = prefill.Ranges(0, 20)[0];
  prefill.Ask(MakeTransfer(1), 1, 0, range);
  h.Run();
  const auto slab = prefill.Pack(MakeTransfer(1), 1, 0, range);
  prefill.SendSlab(slab);
  h.Run();
  prefill.Commit(MakeTransfer(1), 1, 0, prefill.first_token(), {slab});
  h.mailbox.RunAll();
  ASSERT_EQ(h.executor.waiting(Lane::kCompute), 1);
  const int used = h.worker->pages().allocator().used_count();
  v1::DecodeRequest cancel;
  cancel.mutable_cancel()->set_reason(v1::CANCEL_REASON_CLIENT);
  call->stream->Send(cancel).IgnoreError();
  h.mailbox.RunAll();
  EXPECT_EQ(call->closed->code(), absl::StatusCode::kCancelled);
  EXPECT_EQ(h.worker->pages().allocator().used_count(), used);
  EXPECT_FALSE(h.worker->idle());
  h.Run();
  EXPECT_TRUE(h.worker->idle());
  EXPECT_EQ(h.worker->pages().available(), h.worker->pages().page_count());
}

TEST(DecodeWorkerTest, RouterThatGoesAwayCancels) {
  Harness h;
  auto call = h.Start(MakeTransfer(1), MakePrompt(20), 6);
  call->stream.reset();
  h.Run();
  EXPECT_TRUE(h.worker->idle());
}

TEST(DecodeWorkerTest, CancelFinishedEndsOkWithoutTokens) {
  Harness h;
  auto call = h.Start(MakeTransfer(1), MakePrompt(20), 6);
  h.Cancel(*call, v1::CANCEL_REASON_FINISHED);
  EXPECT_TRUE(call->closed->ok());
  EXPECT_EQ(call->finished(), nullptr);
  EXPECT_TRUE(h.worker->idle());
}

TEST(DecodeWorkerTest, DrainFinishesWhatWasAccepted) {
  Harness h;
  const auto prompt = MakePrompt(40);
  auto call = h.Start(MakeTransfer(1), prompt, 6);
  h.worker->Drain(h.clock.Now() + std::chrono::seconds(120));
  EXPECT_TRUE(h.worker->Load().draining());
  EXPECT_FALSE(h.worker->Load().ready());
  auto refused = h.Start(MakeTransfer(2), prompt, 6);
  EXPECT_EQ(refused->closed->code(), absl::StatusCode::kUnavailable);
  // A draining worker still takes Rebinds, new hand-over streams and Opens of its reservations.
  h.Rebind(*call, 2, PrefillKey(2));
  HandPrefill prefill(h, PrefillKey(2));
  prefill.Hello();
  prefill.Open(MakeTransfer(1), 2, 40);
  h.Run();
  EXPECT_FALSE(h.worker->drained());
  h.HandOver(prefill, MakeTransfer(1), 2, prompt);
  EXPECT_EQ(call->tokens(), h.Expected(prompt, 6));
  EXPECT_TRUE(h.worker->drained());
  // The Open that belongs to the refused Start is answered at once.
  prefill.Open(MakeTransfer(2), 1, 40);
  h.Run();
  ASSERT_NE(prefill.last(Case::kRefuse), nullptr);
  EXPECT_EQ(prefill.last(Case::kRefuse)->refuse().code(), v1::REFUSE_CODE_NO_ROOM);
}

TEST(DecodeWorkerTest, DrainTimeOutEndsTheRest) {
  Harness h;
  auto call = h.Start(MakeTransfer(1), MakePrompt(40), 6);
  h.worker->Drain(h.clock.Now() + std::chrono::seconds(120));
  h.Pass(std::chrono::seconds(119));
  EXPECT_FALSE(call->closed.has_value());
  h.Pass(std::chrono::seconds(2));
  EXPECT_EQ(call->closed->code(), absl::StatusCode::kUnavailable);
  EXPECT_TRUE(h.worker->drained());
}

}  // namespace
}  // namespace baton
