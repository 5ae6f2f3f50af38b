#include "common/handoff/sender.h"

#include <algorithm>
#include <utility>

#include "common/base/check.h"
#include "common/base/status.h"
#include "common/handoff/slab_plan.h"
#include "common/handoff/wire_format.h"

namespace baton {
namespace {

v1::KvRange ToProto(const kernels::SlabRange& range) {
  v1::KvRange proto;
  proto.set_first_layer(range.l0);
  proto.set_end_layer(range.l1);
  proto.set_first_head(range.h0);
  proto.set_end_head(range.h1);
  proto.set_first_token(range.t0);
  proto.set_end_token(range.t1);
  return proto;
}

// What the router is told when the decode worker gives up by itself.
v1::RefuseCode RefuseCodeOf(v1::AbortReason reason) {
  switch (reason) {
    case v1::ABORT_REASON_LEASE_EXPIRED:
      return v1::REFUSE_CODE_LEASE_EXPIRED;
    case v1::ABORT_REASON_SHUTDOWN:
      return v1::REFUSE_CODE_HANDOFF_LOST;
    default:
      return v1::REFUSE_CODE_ENDED;
  }
}

}  // namespace

HandoffSender::HandoffSender(const SenderConfig& config, Transfer transfer)
    : config_(config), transfer_(std::move(transfer)) {
  v1::HandoffRequest message;
  v1::HandoffOpen* open = message.mutable_open();
  open->set_request_id(transfer_.request_id);
  *open->mutable_contract() = config_.contract;
  open->set_prompt_tokens(transfer_.prompt_tokens);
  Send(std::move(message));
}

void HandoffSender::Computed(uint32_t end_token) {
  BATON_CHECK(end_token >= computed_end_ && end_token <= transfer_.prompt_tokens);
  computed_end_ = end_token;
  if (granted()) PlanComputed();
}

void HandoffSender::FirstToken(int32_t token, std::optional<v1::Logprobs> logprobs) {
  if (ended()) return;
  first_token_.emplace();
  first_token_->set_first_token(token);
  if (logprobs) *first_token_->mutable_logprobs() = *std::move(logprobs);
  CommitIfComplete();
}

void HandoffSender::Packed(uint32_t slab, uint64_t payload_checksum) {
  if (ended()) return;
  BATON_CHECK(slab < slabs_.size() && slabs_[slab].state == SlabState::kPacking);
  Slab& packed = slabs_[slab];
  packed.state = SlabState::kSending;
  kernels::SlabHeader header;
  const std::string id = transfer_.id.ToBytes();
  std::transform(id.begin(), id.end(), header.transfer_id.begin(),
                 [](char c) { return static_cast<std::byte>(c); });
  header.attempt = transfer_.attempt;
  header.slab_number = slab;
  header.range = packed.range;
  header.formats = wire_;
  const uint64_t bytes = SlabBytes(packed.range, wire_, config_.geometry.head_dim);
  header.payload_bytes = bytes - kernels::SlabHeader::kBytes;
  header.checksum = payload_checksum + kernels::HeaderChecksum(header);
  digest_ += kernels::DigestTerm(header.checksum, slab);
  bytes_wire_ += bytes;
  ++packed_;
  --in_window_;
  actions_.push_back(SendSlab{slab, header});
  AskForCredit();
  CommitIfComplete();
}

void HandoffSender::Sent(uint32_t slab, const absl::Status& status, TimePoint now) {
  if (ended()) return;
  BATON_CHECK(slab < slabs_.size());
  if (!status.ok()) return Lost(status);
  if (slabs_[slab].state != SlabState::kSending) return;  // its Ack came first
  slabs_[slab].state = SlabState::kSent;
  slabs_[slab].sent_at = now;
}

void HandoffSender::Receive(const v1::HandoffResponse& message) {
  if (ended()) return;
  switch (message.message_case()) {
    case v1::HandoffResponse::kGrant:
      return OnGrant(message.grant());
    case v1::HandoffResponse::kRefuse:
      return OnRefuse(message.refuse());
    case v1::HandoffResponse::kCredit:
      return OnCredit(message.credit().slab());
    case v1::HandoffResponse::kAck:
      return OnAck(message.ack());
    case v1::HandoffResponse::kCommitted:
      return End({.outcome = TransferEnded::Outcome::kDelivered});
    case v1::HandoffResponse::kAbort:
      return OnPeerAbort(message.abort().reason());
    case v1::HandoffResponse::kReady:
    case v1::HandoffResponse::kAccepted:
    case v1::HandoffResponse::kRenew:
    case v1::HandoffResponse::MESSAGE_NOT_SET:
      return FailMalformed(
          InvalidArgument("handoff response: case {}, expected a transfer's answer",
                          static_cast<int>(message.message_case())));
  }
}

void HandoffSender::Tick(TimePoint now) {
  if (ended()) return;
  for (size_t i = 0; i < slabs_.size(); ++i) {
    if (slabs_[i].state == SlabState::kSent && now - slabs_[i].sent_at >= config_.slab_timeout) {
      return FailDataLoss(fmt::format("slab {}: no Ack within {} ms of its send", i,
                                      Milliseconds(config_.slab_timeout)));
    }
  }
}

void HandoffSender::Abort(v1::AbortReason reason) {
  if (ended()) return;
  v1::HandoffRequest message;
  message.mutable_abort()->set_reason(reason);
  Send(std::move(message));
  state_ = State::kEnded;
}

void HandoffSender::Lost(absl::Status why) {
  if (!ended()) Refused(v1::REFUSE_CODE_HANDOFF_LOST, {}, std::move(why));
}

std::vector<SenderAction> HandoffSender::TakeActions() { return std::exchange(actions_, {}); }

void HandoffSender::OnGrant(const v1::HandoffGrant& grant) {
  if (granted()) {
    ++duplicates_;
    return;
  }
  const auto wire = KvFormatsOf(grant.wire_format());
  const auto& accepted = config_.contract.wire_formats();
  if (!wire || std::find(accepted.begin(), accepted.end(), grant.wire_format()) == accepted.end()) {
    return FailMalformed(InvalidArgument("wire_format: {}, expected one of this worker's",
                                         static_cast<int>(grant.wire_format())));
  }
  if (grant.first_wanted() > transfer_.prompt_tokens) {
    return FailMalformed(InvalidArgument("first_wanted: {}, expected at most {}",
                                         grant.first_wanted(), transfer_.prompt_tokens));
  }
  wire_ = *wire;
  first_wanted_ = planned_end_ = grant.first_wanted();
  max_slab_bytes_ = std::min(grant.max_slab_bytes(), config_.slab_bytes);
  state_ = State::kGranted;
  PlanComputed();
}

void HandoffSender::OnRefuse(const v1::HandoffRefuse& refuse) {
  if (refuse.code() == v1::REFUSE_CODE_ALREADY_COMMITTED) {
    return End({.outcome = TransferEnded::Outcome::kDelivered});
  }
  Refused(refuse.code(), {refuse.mismatches().begin(), refuse.mismatches().end()},
          absl::OkStatus());
}

void HandoffSender::OnCredit(uint32_t slab) {
  if (slab >= next_to_ask_) {
    return FailMalformed(
        InvalidArgument("credit: slab {}, expected one of {} asked for", slab, next_to_ask_));
  }
  Slab& credited = slabs_[slab];
  if (credited.state != SlabState::kAsked) {
    ++duplicates_;
    return;
  }
  credited.state = SlabState::kPacking;
  actions_.push_back(PackSlab{
      slab, credited.range, wire_,
      SlabBytes(credited.range, wire_, config_.geometry.head_dim) - kernels::SlabHeader::kBytes});
}

void HandoffSender::OnAck(const v1::HandoffAck& ack) {
  if (ack.slab() >= slabs_.size() || slabs_[ack.slab()].state < SlabState::kSending) {
    return FailMalformed(InvalidArgument("ack: slab {}, expected one that was sent", ack.slab()));
  }
  if (slabs_[ack.slab()].state == SlabState::kAcked) {
    ++duplicates_;
    return;
  }
  if (ack.code() != v1::ACK_CODE_OK) {
    return FailDataLoss(
        fmt::format("slab {}: acknowledged with {}", ack.slab(), v1::AckCode_Name(ack.code())));
  }
  slabs_[ack.slab()].state = SlabState::kAcked;
}

void HandoffSender::OnPeerAbort(v1::AbortReason reason) {
  if (reason == v1::ABORT_REASON_DATA_LOSS) {
    return End({.outcome = TransferEnded::Outcome::kFailed,
                .code = v1::REFUSE_CODE_DATA_LOSS,
                .status = DataLoss("the decode worker found slabs lost or corrupted")});
  }
  Refused(RefuseCodeOf(reason), {}, absl::OkStatus());
}

void HandoffSender::PlanComputed() {
  if (ended()) return;
  auto slabs = PlanSlabs(config_.geometry, wire_, planned_end_, computed_end_, max_slab_bytes_);
  if (!slabs.ok()) return FailMalformed(slabs.status());
  for (const kernels::SlabRange& range : *slabs) slabs_.push_back({range});
  planned_end_ = std::max(planned_end_, computed_end_);
  AskForCredit();
  CommitIfComplete();
}

void HandoffSender::AskForCredit() {
  while (next_to_ask_ < slabs_.size() && in_window_ < config_.credit_window) {
    Slab& slab = slabs_[next_to_ask_];
    slab.state = SlabState::kAsked;
    v1::HandoffRequest message;
    v1::HandoffNeedCredit* need = message.mutable_need_credit();
    need->set_slab(static_cast<uint32_t>(next_to_ask_));
    *need->mutable_range() = ToProto(slab.range);
    need->set_bytes(SlabBytes(slab.range, wire_, config_.geometry.head_dim));
    Send(std::move(message));
    ++next_to_ask_;
    ++in_window_;
  }
}

void HandoffSender::CommitIfComplete() {
  if (state_ != State::kGranted || !first_token_ || planned_end_ < transfer_.prompt_tokens ||
      packed_ < slabs_.size()) {
    return;
  }
  v1::HandoffRequest message;
  v1::HandoffCommit* commit = message.mutable_commit();
  *commit = *first_token_;
  commit->set_first_token_index(first_wanted_);
  commit->set_end_token(transfer_.prompt_tokens);
  commit->set_slabs(slabs());
  commit->set_bytes_wire(bytes_wire_);
  commit->set_digest(digest_);
  Send(std::move(message));
  state_ = State::kCommitting;
}

void HandoffSender::Send(v1::HandoffRequest message) {
  message.set_transfer_id(transfer_.id.ToBytes());
  message.set_attempt(transfer_.attempt);
  actions_.push_back(SendControl{std::move(message)});
}

void HandoffSender::FailMalformed(absl::Status status) {
  Abort(v1::ABORT_REASON_CANCELLED);
  End({.outcome = TransferEnded::Outcome::kFailed,
       .code = v1::REFUSE_CODE_BAD_OPEN,
       .status = Annotate(status, "decode worker's answer")});
}

void HandoffSender::FailDataLoss(const std::string& what) {
  Abort(v1::ABORT_REASON_DATA_LOSS);
  End({.outcome = TransferEnded::Outcome::kFailed,
       .code = v1::REFUSE_CODE_DATA_LOSS,
       .status = DataLoss("{}", what)});
}

void HandoffSender::Refused(v1::RefuseCode code, std::vector<v1::Mismatch> mismatches,
                            absl::Status why) {
  End({.outcome = TransferEnded::Outcome::kRefused,
       .code = code,
       .mismatches = std::move(mismatches),
       .status = std::move(why)});
}

void HandoffSender::End(TransferEnded ended) {
  state_ = State::kEnded;
  actions_.push_back(std::move(ended));
}

}  // namespace baton
