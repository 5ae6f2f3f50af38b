#include "common/handoff/sender.h"

#include <gtest/gtest.h>

#include <utility>

#include "common/handoff/slab_plan.h"

namespace baton {
namespace {

using Outcome = TransferEnded::Outcome;
using std::chrono::seconds;

constexpr kernels::KvGeometry kGeometry{2, 2, 16};
constexpr kernels::KvFormats kFp16{kernels::KvFormat::kFp16, kernels::KvFormat::kFp16};
constexpr TimePoint kNow{std::chrono::hours(1)};
constexpr uint32_t kPrompt = 48;

class HandoffSenderTest : public testing::Test {
 protected:
  HandoffSenderTest() {
    config_.geometry = kGeometry;
    config_.contract.add_wire_formats(v1::KV_FORMAT_FP16);
    config_.contract.add_wire_formats(v1::KV_FORMAT_INT8);
    config_.slab_bytes = SlabBytes({0, 2, 0, 2, 0, 16}, kFp16, 16);
    config_.credit_window = 2;
  }

  void Open() {
    sender_.emplace(config_, HandoffSender::Transfer{{1, 2}, 3, "request", kPrompt});
    Collect();
  }
  // Sorts the actions that were taken since the last call.
  void Collect() {
    sent_.clear();
    packs_.clear();
    slabs_.clear();
    for (SenderAction& action : sender_->TakeActions()) {
      EXPECT_FALSE(ended_.has_value()) << "an action follows the end";
      if (auto* control = std::get_if<SendControl>(&action)) {
        EXPECT_EQ(control->message.transfer_id(), (TransferId{1, 2}.ToBytes()));
        EXPECT_EQ(control->message.attempt(), 3u);
        sent_.push_back(control->message);
      } else if (auto* pack = std::get_if<PackSlab>(&action)) {
        packs_.push_back(*pack);
      } else if (auto* slab = std::get_if<SendSlab>(&action)) {
        slabs_.push_back(*slab);
      } else {
        ended_ = std::get<TransferEnded>(action);
      }
    }
  }
  void Receive(const v1::HandoffResponse& response) {
    sender_->Receive(response);
    Collect();
  }
  void Grant(uint32_t first_wanted = 0, uint64_t max_slab = 1 << 20) {
    v1::HandoffResponse response;
    response.mutable_grant()->set_wire_format(v1::KV_FORMAT_FP16);
    response.mutable_grant()->set_first_wanted(first_wanted);
    response.mutable_grant()->set_max_slab_bytes(max_slab);
    Receive(response);
  }
  void Credit(uint32_t slab) {
    v1::HandoffResponse response;
    response.mutable_credit()->set_slab(slab);
    Receive(response);
  }
  void Ack(uint32_t slab, v1::AckCode code = v1::ACK_CODE_OK) {
    v1::HandoffResponse response;
    response.mutable_ack()->set_slab(slab);
    response.mutable_ack()->set_code(code);
    Receive(response);
  }
  void Refuse(v1::RefuseCode code) {
    v1::HandoffResponse response;
    response.mutable_refuse()->set_code(code);
    Receive(response);
  }
  void PeerAbort(v1::AbortReason reason) {
    v1::HandoffResponse response;
    response.mutable_abort()->set_reason(reason);
    Receive(response);
  }
  void Committed() {
    v1::HandoffResponse response;
    response.mutable_committed()->set_first_token(7);
    Receive(response);
  }
  void Compute(uint32_t end) {
    sender_->Computed(end);
    Collect();
  }
  void Packed(uint32_t slab) {
    sender_->Packed(slab, 1000 + slab);
    Collect();
  }
  void Sent(uint32_t slab, const absl::Status& status = absl::OkStatus()) {
    sender_->Sent(slab, status, kNow);
    Collect();
  }
  void FirstToken() {
    sender_->FirstToken(7, std::nullopt);
    Collect();
  }
  std::vector<uint32_t> Asked() const {
    std::vector<uint32_t> asked;
    for (const auto& message : sent_) {
      if (message.has_need_credit()) asked.push_back(message.need_credit().slab());
    }
    return asked;
  }
  const v1::HandoffCommit* Commit() const {
    for (const auto& message : sent_) {
      if (message.has_commit()) return &message.commit();
    }
    return nullptr;
  }
  v1::AbortReason Aborted() const {
    return sent_.size() == 1 && sent_[0].has_abort() ? sent_[0].abort().reason()
                                                     : v1::ABORT_REASON_UNSPECIFIED;
  }

  SenderConfig config_;
  std::optional<HandoffSender> sender_;
  std::vector<v1::HandoffRequest> sent_;
  std::vector<PackSlab> packs_;
  std::vector<SendSlab> slabs_;
  std::optional<TransferEnded> ended_;
};

TEST_F(HandoffSenderTest, OpensWithContractAndPrompt) {
  Open();
  ASSERT_EQ(sent_.size(), 1u);
  EXPECT_EQ(sent_[0].open().request_id(), "request");
  EXPECT_EQ(sent_[0].open().prompt_tokens(), kPrompt);
  EXPECT_EQ(sent_[0].open().contract().wire_formats_size(), 2);
  EXPECT_FALSE(sender_->granted());
}

TEST_F(HandoffSenderTest, SlabsFollowTheChunksThenCommitThenDelivered) {
  Open();
  Grant();
  EXPECT_TRUE(sent_.empty());  // nothing is computed
  Compute(16);
  EXPECT_EQ(Asked(), (std::vector<uint32_t>{0}));
  EXPECT_EQ(sent_[0].need_credit().bytes(), config_.slab_bytes);
  EXPECT_EQ(sent_[0].need_credit().range().end_token(), 16u);
  Credit(0);
  ASSERT_EQ(packs_.size(), 1u);
  EXPECT_EQ(packs_[0].payload_bytes, config_.slab_bytes - 128);
  Compute(kPrompt);
  EXPECT_EQ(Asked(), (std::vector<uint32_t>{1}));  // the window holds two
  Packed(0);
  ASSERT_EQ(slabs_.size(), 1u);
  EXPECT_EQ(Asked(), (std::vector<uint32_t>{2}));
  FirstToken();
  EXPECT_EQ(Commit(), nullptr);
  Credit(1);
  Credit(2);
  Packed(1);
  Packed(2);
  ASSERT_NE(Commit(), nullptr);  // slabs are on their way: it may overtake them
  EXPECT_EQ(Commit()->first_token(), 7);
  EXPECT_EQ(Commit()->first_token_index(), 0u);
  EXPECT_EQ(Commit()->end_token(), kPrompt);
  EXPECT_EQ(Commit()->slabs(), 3u);
  EXPECT_EQ(Commit()->bytes_wire(), 3 * config_.slab_bytes);
  EXPECT_NE(Commit()->digest(), 0u);
  for (uint32_t slab : {0, 1, 2}) Sent(slab);
  for (uint32_t slab : {0, 1, 2}) Ack(slab);
  EXPECT_FALSE(ended_.has_value());
  Committed();
  ASSERT_TRUE(ended_.has_value());
  EXPECT_EQ(ended_->outcome, Outcome::kDelivered);
}

TEST_F(HandoffSenderTest, HeaderCarriesIdentityAndChecksum) {
  Open();
  Grant();
  Compute(16);
  Credit(0);
  Packed(0);
  const auto bytes = kernels::EncodeSlabHeader(slabs_[0].header);
  const auto decoded = kernels::DecodeSlabHeader(bytes, kGeometry.head_dim);
  ASSERT_TRUE(std::holds_alternative<kernels::SlabHeader>(decoded))
      << std::get<std::string>(decoded);
  const auto& header = std::get<kernels::SlabHeader>(decoded);
  EXPECT_EQ(header.attempt, 3u);
  EXPECT_EQ(header.slab_number, 0u);
  EXPECT_EQ(header.range, (kernels::SlabRange{0, 2, 0, 2, 0, 16}));
  EXPECT_EQ(header.checksum, 1000 + kernels::HeaderChecksum(header));
}

TEST_F(HandoffSenderTest, LateGrantFindsEverythingComputed) {
  Open();
  Compute(kPrompt);
  FirstToken();
  EXPECT_TRUE(sent_.empty());
  Grant(16);
  EXPECT_EQ(Asked(), (std::vector<uint32_t>{0, 1}));
  EXPECT_EQ(sent_[0].need_credit().range().first_token(), 16u);
}

TEST_F(HandoffSenderTest, FullPrefixMatchNeedsNoSlab) {
  Open();
  Grant(kPrompt);
  Compute(kPrompt);
  EXPECT_EQ(Commit(), nullptr);
  FirstToken();
  ASSERT_NE(Commit(), nullptr);
  EXPECT_EQ(Commit()->slabs(), 0u);
  EXPECT_EQ(Commit()->digest(), 0u);
  EXPECT_EQ(Commit()->first_token_index(), kPrompt);
  Committed();
  EXPECT_EQ(ended_->outcome, Outcome::kDelivered);
}

TEST_F(HandoffSenderTest, GrantedSlabSizeIsRespected) {
  Open();
  Grant(0, SlabBytes({0, 1, 0, 2, 0, 16}, kFp16, 16));
  Compute(16);
  EXPECT_EQ(Asked(), (std::vector<uint32_t>{0, 1}));  // one per layer
}

TEST_F(HandoffSenderTest, DuplicatesChangeNothing) {
  Open();
  Grant();
  Compute(16);
  Credit(0);
  Credit(0);
  EXPECT_TRUE(packs_.empty());
  Packed(0);
  Grant(16);
  EXPECT_TRUE(sent_.empty());
  Sent(0);
  Ack(0);
  Ack(0, v1::ACK_CODE_BAD_CHECKSUM);
  EXPECT_FALSE(ended_.has_value());
  EXPECT_EQ(sender_->duplicates(), 3);
}

TEST_F(HandoffSenderTest, AckMayOvertakeTheSendCompletion) {
  Open();
  Grant();
  Compute(16);
  Credit(0);
  Packed(0);
  Ack(0);
  Sent(0);
  sender_->Tick(kNow + seconds(60));
  Collect();
  EXPECT_FALSE(ended_.has_value());
}

TEST_F(HandoffSenderTest, MissingAckIsDataLoss) {
  Open();
  Grant();
  Compute(16);
  Credit(0);
  Packed(0);
  sender_->Tick(kNow + seconds(60));  // not sent yet: no time runs
  Collect();
  EXPECT_FALSE(ended_.has_value());
  Sent(0);
  sender_->Tick(kNow + seconds(5) - Duration(1));
  Collect();
  EXPECT_FALSE(ended_.has_value());
  sender_->Tick(kNow + seconds(5));
  Collect();
  ASSERT_TRUE(ended_.has_value());
  EXPECT_EQ(Aborted(), v1::ABORT_REASON_DATA_LOSS);
  EXPECT_EQ(ended_->outcome, Outcome::kFailed);
  EXPECT_EQ(ended_->status.code(), absl::StatusCode::kDataLoss);
}

TEST_F(HandoffSenderTest, BadAckIsDataLoss) {
  for (v1::AckCode code : {v1::ACK_CODE_BAD_CHECKSUM, v1::ACK_CODE_OUT_OF_BOUNDS}) {
    ended_.reset();
    Open();
    Grant();
    Compute(16);
    Credit(0);
    Packed(0);
    Sent(0);
    Ack(0, code);
    EXPECT_EQ(Aborted(), v1::ABORT_REASON_DATA_LOSS);
    ASSERT_TRUE(ended_.has_value());
    EXPECT_EQ(ended_->status.code(), absl::StatusCode::kDataLoss);
  }
}

TEST_F(HandoffSenderTest, RefusalsKeepTheKv) {
  for (v1::RefuseCode code : {v1::REFUSE_CODE_CONTRACT, v1::REFUSE_CODE_STALE, v1::REFUSE_CODE_BUSY,
                              v1::REFUSE_CODE_UNKNOWN_TRANSFER, v1::REFUSE_CODE_NO_ROOM}) {
    ended_.reset();
    Open();
    Refuse(code);
    ASSERT_TRUE(ended_.has_value());
    EXPECT_EQ(ended_->outcome, Outcome::kRefused);
    EXPECT_EQ(ended_->code, code);
    EXPECT_TRUE(sent_.empty());
  }
}

TEST_F(HandoffSenderTest, AlreadyCommittedIsDelivered) {
  Open();
  Refuse(v1::REFUSE_CODE_ALREADY_COMMITTED);
  EXPECT_EQ(ended_->outcome, Outcome::kDelivered);
}

TEST_F(HandoffSenderTest, PeerAborts) {
  for (const auto& [reason, code] :
       {std::pair{v1::ABORT_REASON_LEASE_EXPIRED, v1::REFUSE_CODE_LEASE_EXPIRED},
        std::pair{v1::ABORT_REASON_SHUTDOWN, v1::REFUSE_CODE_HANDOFF_LOST},
        std::pair{v1::ABORT_REASON_FINISHED, v1::REFUSE_CODE_ENDED}}) {
    ended_.reset();
    Open();
    Grant();
    PeerAbort(reason);
    ASSERT_TRUE(ended_.has_value());
    EXPECT_EQ(ended_->outcome, Outcome::kRefused);
    EXPECT_EQ(ended_->code, code);
  }
  ended_.reset();
  Open();
  PeerAbort(v1::ABORT_REASON_DATA_LOSS);
  EXPECT_EQ(ended_->outcome, Outcome::kFailed);
  EXPECT_EQ(ended_->status.code(), absl::StatusCode::kDataLoss);
}

TEST_F(HandoffSenderTest, BrokenLinkAtEachStageIsHandoffLost) {
  for (int stage = 0; stage < 4; ++stage) {
    ended_.reset();
    Open();
    if (stage >= 1) Grant();
    if (stage >= 2) Compute(kPrompt);
    if (stage >= 3) Credit(0);
    sender_->Lost(absl::UnavailableError("gone"));
    Collect();
    ASSERT_TRUE(ended_.has_value());
    EXPECT_EQ(ended_->code, v1::REFUSE_CODE_HANDOFF_LOST);
    EXPECT_TRUE(sent_.empty());
  }
}

TEST_F(HandoffSenderTest, FailedSendIsHandoffLost) {
  Open();
  Grant();
  Compute(16);
  Credit(0);
  Packed(0);
  Sent(0, absl::UnavailableError("peer lost"));
  EXPECT_EQ(ended_->code, v1::REFUSE_CODE_HANDOFF_LOST);
}

TEST_F(HandoffSenderTest, AbortIsTheLastWord) {
  Open();
  Grant();
  Compute(kPrompt);
  Credit(0);
  sender_->Abort(v1::ABORT_REASON_CANCELLED);
  Collect();
  EXPECT_EQ(Aborted(), v1::ABORT_REASON_CANCELLED);
  Packed(0);  // came back late
  Committed();
  sender_->Lost(absl::UnavailableError("gone"));
  sender_->Abort(v1::ABORT_REASON_FINISHED);
  Collect();
  EXPECT_TRUE(sent_.empty() && slabs_.empty());
  EXPECT_FALSE(ended_.has_value());
}

TEST_F(HandoffSenderTest, ContradictionsFailTheTransfer) {
  const auto expect_failed = [this](const char* what) {
    SCOPED_TRACE(what);
    ASSERT_TRUE(ended_.has_value());
    EXPECT_EQ(ended_->outcome, Outcome::kFailed);
    EXPECT_EQ(ended_->status.code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(Aborted(), v1::ABORT_REASON_CANCELLED);
    ended_.reset();
  };
  Open();
  Grant(kPrompt + 1);
  expect_failed("first wanted behind the prompt");
  Open();
  Compute(1);
  Grant(0, 128);
  expect_failed("no slab fits");
  Open();
  v1::HandoffResponse grant;
  grant.mutable_grant()->set_wire_format(v1::KV_FORMAT_INT4);
  Receive(grant);
  expect_failed("a format that was not offered");
  Open();
  Credit(0);
  expect_failed("credit before anything was asked for");
  Open();
  Grant();
  Compute(16);
  Ack(0);
  expect_failed("ack of a slab that was not sent");
  Open();
  Receive({});
  expect_failed("no message");
}

}  // namespace
}  // namespace baton
