// More than one attempt: refusals, losses, retries, what crosses on the way.
#include <gtest/gtest.h>

#include "tests/router/request_flow_fixture.h"

namespace baton {
namespace {

using absl::StatusCode;

using RequestFlowAttemptsTest = RequestFlowTest;

TEST_F(RequestFlowAttemptsTest, APrefillWorkerLostBeforeItsFirstTokenIsReplaced) {
  Start();
  Reserved(1);
  Started(1);
  prefills_ = {p1_};
  PrefillEnds(Unavailable("killed"));
  ASSERT_EQ(prefill_opened_.size(), 2u);
  EXPECT_EQ(prefill_opened_[1].worker, "p1");
  EXPECT_EQ(LastPrefillStart().attempt(), 2u);
  EXPECT_EQ(LastPrefillStart().transfer_id(), (TransferId{1, 2}).ToBytes());
  EXPECT_FALSE(LastPrefillStart().has_forced_first_token());
  EXPECT_EQ(LastDecodeRebind().attempt(), 2u);
  EXPECT_EQ(LastDecodeRebind().prefill().identity().worker_id(), "p1");
  EXPECT_EQ(decode_opened_.size(), 1u);
  EXPECT_EQ(excluded_[0], std::set<WorkerKey>{KeyOf(p0_->identity())});
  EXPECT_EQ(flow_->retries(), 1u);
  Reserved(2);
  FirstToken(2, 'a');
  Committed(2, 'a');
  Finished(2, v1::FINISH_REASON_STOP);
  ExpectSettled(StatusCode::kOk);
  EXPECT_EQ(Complete().attempts(), 2u);
  EXPECT_EQ(Complete().workers().prefill(), "p1");
}

TEST_F(RequestFlowAttemptsTest, ALaterFirstTokenWaitsForReserved) {
  Start();
  Reserved(1);
  Started(1);
  prefills_ = {p1_};
  PrefillEnds(Unavailable("killed"));
  FirstToken(2, 'b');
  EXPECT_TRUE(Tokens().empty());
  Reserved(2);
  EXPECT_EQ(Tokens(), std::vector<int32_t>{'b'});
}

TEST_F(RequestFlowAttemptsTest, ACompleteReservationOfAFormerAttemptWins) {
  Start();
  Reserved(1);
  Started(1);
  prefills_ = {p1_};
  PrefillEnds(Unavailable("killed"));
  FirstToken(2, 'b');
  // These crossed the Rebind on their way.
  Committed(1, 'a');
  Token(1, 1, 'c');
  // And this answers it.
  Committed(2, 'a');
  Refused(2, v1::REFUSE_CODE_ALREADY_COMMITTED);
  EXPECT_EQ(prefill_cancelled_, std::vector{v1::CANCEL_REASON_FINISHED});
  Token(2, 2, 'd');
  Finished(2, v1::FINISH_REASON_STOP);
  ExpectSettled(StatusCode::kOk);
  EXPECT_EQ(Tokens(), (std::vector<int32_t>{'a', 'c', 'd'}));
  EXPECT_EQ(Complete().workers().prefill(), "p0");
}

TEST_F(RequestFlowAttemptsTest, AfterADeliveredTokenLaterAttemptsAreForcedToIt) {
  Start();
  Reserved(1);
  FirstToken(1, 'a');
  prefills_ = {p1_};
  PrefillEnds(Aborted("kv_dropped"));
  EXPECT_EQ(flow_->retries(), 0u);
  EXPECT_EQ(LastPrefillStart().forced_first_token(), 'a');
  EXPECT_EQ(LastPrefillStart().forced_logprobs().chosen(), -0.5f);
  Reserved(2);
  Committed(2, 'a');
  EXPECT_EQ(Tokens(), std::vector<int32_t>{'a'});
}

TEST_F(RequestFlowAttemptsTest, DroppedKvCostsNoRetryHoweverOften) {
  Start();
  for (uint32_t i = 0; i < 10; ++i) {
    prefills_ = {p0_};
    Started(i + 1);
    PrefillEnds(Aborted("kv_dropped"));
    EXPECT_TRUE(excluded_.back().empty());
  }
  EXPECT_EQ(flow_->attempt(), 11u);
  EXPECT_FALSE(flow_->settled());
}

TEST_F(RequestFlowAttemptsTest, RetriesAreBounded) {
  Start();
  for (uint32_t i = 0; i < 2; ++i) {
    prefills_ = {p1_};
    Started(i + 1);
    PrefillEnds(Unavailable("killed"));
    ASSERT_FALSE(flow_->settled());
  }
  prefills_ = {p1_};
  Started(3);
  PrefillEnds(Unavailable("killed"));
  ExpectSettled(StatusCode::kUnavailable);
  EXPECT_EQ(decode_cancelled_, std::vector{v1::CANCEL_REASON_FAILED});
}

TEST_F(RequestFlowAttemptsTest, AWorkerThatNeverAcceptedCostsNoRetry) {
  Start();
  prefills_ = {p1_};
  PrefillEnds(Unavailable("draining"));
  EXPECT_EQ(flow_->retries(), 0u);
  EXPECT_EQ(flow_->attempt(), 2u);
}

TEST_F(RequestFlowAttemptsTest, ADecodeWorkerWithoutRoomIsReplacedAndThePrefillWorkerRebound) {
  Start();
  decodes_ = {d1_};
  DecodeEnds(ResourceExhausted("queue full"));
  EXPECT_EQ(excluded_[0], std::set<WorkerKey>{KeyOf(d0_->identity())});
  EXPECT_EQ(decode_opened_[1].worker, "d1");
  EXPECT_EQ(LastDecodeStart().attempt(), 2u);
  EXPECT_EQ(LastPrefillRebind().attempt(), 2u);
  EXPECT_EQ(LastPrefillRebind().decode().identity().worker_id(), "d1");
  EXPECT_EQ(prefill_opened_.size(), 1u);
  EXPECT_EQ(flow_->retries(), 0u);
  // The prefill worker computed before it heard of the Rebind.
  FirstToken(1, 'a');
  EXPECT_TRUE(Tokens().empty());
  Reserved(2);
  EXPECT_EQ(Tokens(), std::vector<int32_t>{'a'});
}

TEST_F(RequestFlowAttemptsTest, EachDecodeWorkerIsTriedOnceThenTheQueue) {
  Start();
  decodes_ = {d1_};
  DecodeEnds(ResourceExhausted("queue full"));
  DecodeEnds(ResourceExhausted("queue full"));
  EXPECT_EQ(excluded_[1], (std::set<WorkerKey>{KeyOf(d0_->identity()), KeyOf(d1_->identity())}));
  EXPECT_EQ(requeued_, 1);
  EXPECT_TRUE(flow_->waiting());
  EXPECT_EQ(prefill_cancelled_.size(), 1u);
  EXPECT_TRUE(flow_->Query().excluded->empty());
  flow_->Dispatch({p0_, d0_}, TransferId{3, 4});
  EXPECT_EQ(LastDecodeStart().attempt(), 3u);
  EXPECT_EQ(LastDecodeStart().transfer_id(), (TransferId{3, 4}).ToBytes());
  FirstToken(3, 'a');
  EXPECT_TRUE(Tokens().empty());
  Reserved(3);
  EXPECT_EQ(Tokens(), std::vector<int32_t>{'a'});
}

TEST_F(RequestFlowAttemptsTest, AContractRefusalTriesAnotherWorkerThenNamesTheField) {
  Start();
  decodes_ = {d1_};
  Refused(1, v1::REFUSE_CODE_CONTRACT);
  EXPECT_EQ(decode_cancelled_.size(), 1u);
  EXPECT_EQ(LastPrefillRebind().attempt(), 2u);
  Refused(2, v1::REFUSE_CODE_CONTRACT);
  ExpectSettled(StatusCode::kFailedPrecondition);
  EXPECT_NE(MessageOf(settled_[0]).find("geometry.layers"), std::string_view::npos);
}

TEST_F(RequestFlowAttemptsTest, ALostHandoffStreamBindsTheSamePairAnew) {
  Start();
  Reserved(1);
  Refused(1, v1::REFUSE_CODE_HANDOFF_LOST);
  EXPECT_EQ(LastPrefillRebind().attempt(), 2u);
  EXPECT_EQ(LastDecodeRebind().attempt(), 2u);
  EXPECT_EQ(flow_->retries(), 1u);
  EXPECT_TRUE(prefill_cancelled_.empty());
  Refused(1, v1::REFUSE_CODE_HANDOFF_LOST);
  EXPECT_EQ(flow_->attempt(), 2u);
}

TEST_F(RequestFlowAttemptsTest, ARefusalThatTheDecodeWorkersEndExplainsWaitsForIt) {
  Start();
  Refused(1, v1::REFUSE_CODE_ENDED);
  EXPECT_EQ(flow_->attempt(), 1u);
  decodes_ = {d1_};
  DecodeEnds(ResourceExhausted("queue full"));
  EXPECT_EQ(LastPrefillRebind().attempt(), 2u);
}

TEST_F(RequestFlowAttemptsTest, ADecodeWorkerLostBeforeCommittedIsReplaced) {
  Start();
  Reserved(1);
  FirstToken(1, 'a');
  decodes_ = {d1_};
  DecodeEnds(Unavailable("killed"));
  EXPECT_EQ(flow_->retries(), 1u);
  EXPECT_EQ(LastPrefillRebind().forced_first_token(), 'a');
  Reserved(2);
  Committed(2, 'a');
  Finished(2, v1::FINISH_REASON_LENGTH);
  ExpectSettled(StatusCode::kOk);
}

TEST_F(RequestFlowAttemptsTest, WithoutAnyOtherWorkerTheClientHearsOfTheLoss) {
  Start();
  no_worker_ = Unavailable("no prefill worker is ready");
  PrefillEnds(Unavailable("killed"));
  ExpectSettled(StatusCode::kUnavailable);
}

TEST_F(RequestFlowAttemptsTest, MessagesOfReplacedStreamsCountForNothing) {
  Start();
  Started(1);
  prefills_ = {p1_};
  PrefillEnds(Unavailable("killed"));
  FirstToken(1, 'x');
  Reserved(2);
  EXPECT_TRUE(Tokens().empty());
  FirstToken(2, 'b');
  EXPECT_EQ(Tokens(), std::vector<int32_t>{'b'});
}

TEST_F(RequestFlowAttemptsTest, AHeldLastTokenSurvivesBothWorkers) {
  Start();
  Reserved(1);
  Started(1);
  prefills_ = {p1_};
  PrefillEnds(Unavailable("killed"));
  FirstToken(2, 0, v1::FINISH_REASON_STOP);
  PrefillEnds(absl::OkStatus());
  EXPECT_FALSE(flow_->settled());
  DecodeEnds(absl::OkStatus());
  ExpectSettled(StatusCode::kOk);
  EXPECT_EQ(Tokens(), std::vector<int32_t>{0});
}

TEST_F(RequestFlowAttemptsTest, AWorkerFullOfRequestsIsReplaced) {
  Start();
  prefills_ = {p1_};
  PrefillEnds(ResourceExhausted("queue full"));
  EXPECT_EQ(flow_->retries(), 0u);
  EXPECT_EQ(prefill_opened_[1].worker, "p1");
}

}  // namespace
}  // namespace baton
