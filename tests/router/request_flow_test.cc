// One attempt: merge, ends, cancellation, what workers may not say.
#include "router/request_flow.h"

#include "tests/router/request_flow_fixture.h"

namespace baton {
namespace {

using absl::StatusCode;

TEST_F(RequestFlowTest, BothWorkersAreStartedAtOnceAndKnowEachOther) {
  Start();
  ASSERT_EQ(prefill_opened_.size(), 1u);
  ASSERT_EQ(decode_opened_.size(), 1u);
  EXPECT_EQ(LastPrefillStart().attempt(), 1u);
  EXPECT_EQ(LastPrefillStart().transfer_id(), (TransferId{1, 2}).ToBytes());
  EXPECT_EQ(LastPrefillStart().decode().identity().worker_id(), "d0");
  EXPECT_EQ(LastPrefillStart().decode().kv_endpoint(), "d0:kv");
  EXPECT_EQ(LastPrefillStart().incarnation(), 100u);
  EXPECT_FALSE(LastPrefillStart().has_forced_first_token());
  EXPECT_EQ(LastDecodeStart().transfer_id(), (TransferId{1, 2}).ToBytes());
  EXPECT_EQ(LastDecodeStart().prefill().identity().worker_id(), "p0");
  EXPECT_EQ(LastDecodeStart().request().prompt_size(), 3);
}

TEST_F(RequestFlowTest, TokensOfBothWorkersAreMergedByIndex) {
  Start();
  Reserved(1);
  now_ += std::chrono::milliseconds(20);
  FirstToken(1, 'a');
  EXPECT_EQ(Text(), "a");
  Committed(1, 'a');
  now_ += std::chrono::milliseconds(5);
  Token(1, 1, 'b');
  Token(1, 1, 'x');
  Token(1, 2, 'c');
  Delivered(1);
  PrefillEnds(absl::OkStatus());
  Finished(1, v1::FINISH_REASON_LENGTH);
  ExpectSettled(StatusCode::kOk);
  EXPECT_EQ(Tokens(), (std::vector<int32_t>{'a', 'b', 'c'}));
  EXPECT_EQ(Text(), "abc");
  EXPECT_EQ(Complete().finish_reason(), v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(Complete().usage().prompt_tokens(), 3u);
  EXPECT_EQ(Complete().usage().completion_tokens(), 3u);
  EXPECT_EQ(Complete().timing().ttft_ms(), 20);
  EXPECT_EQ(Complete().timing().queue_ms(), 3);
  EXPECT_EQ(Complete().timing().pack_ms(), 7);
  EXPECT_EQ(Complete().timing().e2e_ms(), 25);
  ASSERT_EQ(Complete().timing().itl_ms_size(), 2);
  EXPECT_EQ(Complete().timing().itl_ms(0), 5);
  EXPECT_EQ(Complete().kv().bytes_wire(), 512u);
  EXPECT_EQ(Complete().kv().format(), v1::KV_FORMAT_INT8);
  EXPECT_EQ(Complete().workers().prefill(), "p0");
  EXPECT_EQ(Complete().workers().decode(), "d0");
  EXPECT_EQ(Complete().attempts(), 1u);
  EXPECT_EQ(decode_cancelled_, std::vector{v1::CANCEL_REASON_FINISHED});
}

TEST_F(RequestFlowTest, IndexZeroComesFromWhicheverIsFirst) {
  Start();
  Committed(1, 'a');
  Token(1, 1, 'b');
  FirstToken(1, 'a');
  EXPECT_EQ(Tokens(), (std::vector<int32_t>{'a', 'b'}));
  Finished(1, v1::FINISH_REASON_STOP);
  EXPECT_EQ(Complete().timing().queue_ms(), 3);
}

TEST_F(RequestFlowTest, AFirstTokenThatEndsTheRequestCancelsTheDecodeWorker) {
  Start();
  Reserved(1);
  FirstToken(1, 0, v1::FINISH_REASON_STOP);
  ExpectSettled(StatusCode::kOk);
  EXPECT_EQ(decode_cancelled_, std::vector{v1::CANCEL_REASON_FINISHED});
  EXPECT_EQ(Complete().workers().decode(), "");
  EXPECT_EQ(Complete().usage().completion_tokens(), 1u);
}

TEST_F(RequestFlowTest, ADecodeWorkerMayHearOfTheEndFirst) {
  Start();
  DecodeEnds(absl::OkStatus());
  FirstToken(1, 0, v1::FINISH_REASON_STOP);
  ExpectSettled(StatusCode::kOk);
}

TEST_F(RequestFlowTest, WithOneTokenNoDecodeWorkerIsCalled) {
  Start(1);
  EXPECT_TRUE(decode_opened_.empty());
  EXPECT_FALSE(LastPrefillStart().has_decode());
  FirstToken(1, 'a', v1::FINISH_REASON_LENGTH);
  ExpectSettled(StatusCode::kOk);
  EXPECT_TRUE(decode_cancelled_.empty());
}

TEST_F(RequestFlowTest, AStopStringAcrossBothWorkersEndsAndHidesIt) {
  Start(8, {"bc"});
  FirstToken(1, 'b');
  EXPECT_EQ(Text(), "");
  Committed(1, 'b');
  Token(1, 1, 'c');
  ExpectSettled(StatusCode::kOk);
  EXPECT_EQ(Text(), "");
  EXPECT_EQ(Complete().matched_stop(), "bc");
  EXPECT_EQ(Complete().finish_reason(), v1::FINISH_REASON_STOP);
  EXPECT_EQ(Complete().usage().completion_tokens(), 2u);
  EXPECT_EQ(prefill_cancelled_, std::vector{v1::CANCEL_REASON_FINISHED});
  EXPECT_EQ(decode_cancelled_, std::vector{v1::CANCEL_REASON_FINISHED});
}

TEST_F(RequestFlowTest, AStopStringInTheFirstTokenCancelsBoth) {
  Start(8, {"b"});
  FirstToken(1, 'b');
  ExpectSettled(StatusCode::kOk);
  EXPECT_EQ(prefill_cancelled_.size(), 1u);
  EXPECT_EQ(decode_cancelled_.size(), 1u);
}

TEST_F(RequestFlowTest, HeldBackTextComesOutAtTheEnd) {
  Start(8, {"bcd"});
  FirstToken(1, 'a');
  Committed(1, 'a');
  Token(1, 1, 'b');
  EXPECT_EQ(Text(), "a");
  Finished(1, v1::FINISH_REASON_LENGTH);
  EXPECT_EQ(Text(), "ab");
  EXPECT_EQ(Tokens(), (std::vector<int32_t>{'a', 'b'}));
}

TEST_F(RequestFlowTest, CancelReachesBothWorkersAtEachStage) {
  for (int stage = 0; stage < 4; ++stage) {
    prefill_cancelled_.clear(), decode_cancelled_.clear(), settled_.clear(), responses_.clear();
    Start();
    if (stage > 0) Reserved(1);
    if (stage > 1) FirstToken(1, 'a');
    if (stage > 2) Committed(1, 'a');
    flow_->Cancel(v1::CANCEL_REASON_CLIENT, Cancelled("gone"));
    ExpectSettled(StatusCode::kCancelled);
    EXPECT_EQ(prefill_cancelled_, std::vector{v1::CANCEL_REASON_CLIENT});
    EXPECT_EQ(decode_cancelled_, std::vector{v1::CANCEL_REASON_CLIENT});
    flow_->Cancel(v1::CANCEL_REASON_DEADLINE, DeadlineExceeded("late"));
    Token(1, 1, 'b');
    ExpectSettled(StatusCode::kCancelled);
  }
}

TEST_F(RequestFlowTest, ACancelWhileWaitingTouchesNoWorker) {
  Make();
  flow_->Cancel(v1::CANCEL_REASON_DEADLINE, DeadlineExceeded("late"));
  ExpectSettled(StatusCode::kDeadlineExceeded);
  EXPECT_TRUE(prefill_opened_.empty());
  EXPECT_TRUE(prefill_cancelled_.empty());
}

TEST_F(RequestFlowTest, ThePrefillWorkerIsNotMissedOnceTheReservationIsComplete) {
  Start();
  FirstToken(1, 'a');
  Committed(1, 'a');
  PrefillEnds(Unavailable("killed"));
  Token(1, 1, 'b');
  Finished(1, v1::FINISH_REASON_STOP);
  ExpectSettled(StatusCode::kOk);
}

TEST_F(RequestFlowTest, ADecodeWorkerLostWhileDecodingEndsTheRequest) {
  Start();
  FirstToken(1, 'a');
  Committed(1, 'a');
  DecodeEnds(Unavailable("killed"));
  ExpectSettled(StatusCode::kUnavailable);
  EXPECT_EQ(Tokens(), std::vector<int32_t>{'a'});
}

TEST_F(RequestFlowTest, AWorkersOtherErrorsReachTheClient) {
  Start();
  DecodeEnds(InvalidArgument("needs 9 pages, has 8"));
  ExpectSettled(StatusCode::kInvalidArgument);
  EXPECT_NE(MessageOf(settled_[0]).find("d0"), std::string_view::npos);
  EXPECT_EQ(prefill_cancelled_, std::vector{v1::CANCEL_REASON_FAILED});
}

TEST_F(RequestFlowTest, LostSlabsFailWithDataLoss) {
  Start();
  Refused(1, v1::REFUSE_CODE_DATA_LOSS);
  ExpectSettled(StatusCode::kDataLoss);
}

TEST_F(RequestFlowTest, WorkersThatBreakTheProtocolEndTheRequest) {
  const std::vector<std::function<void()>> breaches = {
      [this] { Token(1, 1, 'x'); },                                       // before Committed
      [this] { Committed(1, 'z'); },                                      // another first token
      [this] { Committed(1, 'a'), Token(1, 3, 'x'); },                    // a gap
      [this] { Committed(1, 'a'), Token(1, 1, 999); },                    // no token of the model
      [this] { Committed(1, 'a'), Token(1, 1, 'b'), Token(1, 2, 'c'); },  // more than max_tokens
      [this] { Committed(1, 'a'), DecodeEnds(absl::OkStatus()); },        // no Finished
      [this] { Finished(1, v1::FINISH_REASON_STOP); },                    // before Committed
      [this] { Committed(1, 'a'), Finished(1, v1::FINISH_REASON_UNSPECIFIED); },
      [this] { flow_->OnDecode(v1::DecodeResponse(), now_); },
      [this] { flow_->OnPrefill(v1::PrefillResponse(), now_); },
      [this] { Refused(1, v1::REFUSE_CODE_BAD_OPEN); },
      [this] { PrefillEnds(absl::OkStatus()), DecodeEnds(absl::OkStatus()); },
  };
  for (size_t i = 0; i < breaches.size(); ++i) {
    SCOPED_TRACE(i);
    settled_.clear(), responses_.clear();
    Start(2);
    FirstToken(1, 'a');
    breaches[i]();
    ExpectSettled(StatusCode::kInternal);
  }
}

}  // namespace
}  // namespace baton
