#include "common/handoff/receiver.h"

#include <utility>

#include "common/base/check.h"
#include "common/base/status.h"

namespace baton {
namespace {

using kernels::SlabHeader;
using kernels::SlabRange;

SlabRange RangeOf(const v1::KvRange& range) {
  return {range.first_layer(), range.end_layer(),   range.first_head(),
          range.end_head(),    range.first_token(), range.end_token()};
}

}  // namespace

v1::HandoffResponse TransferReceiver::Message() const {
  v1::HandoffResponse message;
  message.set_transfer_id(config_.transfer.ToBytes());
  message.set_attempt(attempt_);
  return message;
}

v1::HandoffResponse TransferReceiver::Ack(uint32_t slab, v1::AckCode code) const {
  v1::HandoffResponse message = Message();
  message.mutable_ack()->set_slab(slab);
  message.mutable_ack()->set_code(code);
  return message;
}

void TransferReceiver::Rebind(uint32_t attempt) {
  BATON_CHECK(attempt > attempt_);
  attempt_ = attempt;
  if (state_ == State::kComplete) return;
  EndAttempt();
  state_ = State::kExpecting;
}

v1::HandoffResponse TransferReceiver::Grant(v1::KvFormat wire_format, kernels::KvFormats formats,
                                            uint32_t first_wanted) {
  BATON_CHECK(state_ == State::kExpecting && first_wanted <= config_.prompt_tokens);
  state_ = State::kReceiving;
  wire_format_ = wire_format;
  formats_ = formats;
  first_wanted_ = first_wanted;
  ledger_.emplace(SlabRange{0, static_cast<uint32_t>(config_.geometry.layers), 0,
                            static_cast<uint32_t>(config_.geometry.kv_heads), first_wanted,
                            config_.prompt_tokens});
  return RepeatGrant();
}

v1::HandoffResponse TransferReceiver::RepeatGrant() const {
  BATON_CHECK(state_ == State::kReceiving);
  v1::HandoffResponse message = Message();
  v1::HandoffGrant* grant = message.mutable_grant();
  grant->set_wire_format(wire_format_);
  grant->set_first_wanted(first_wanted_);
  grant->set_max_slab_bytes(config_.max_slab_bytes);
  return message;
}

void TransferReceiver::EndAttempt() {
  BATON_CHECK(state_ != State::kComplete);
  state_ = State::kEnded;
  ledger_.reset();
  commit_.reset();
}

absl::Status TransferReceiver::CheckNeedCredit(const v1::HandoffNeedCredit& message) const {
  const SlabRange range = RangeOf(message.range());
  if (message.bytes() > config_.max_slab_bytes) {
    return InvalidArgument("need_credit.bytes: {}, expected at most {}", message.bytes(),
                           config_.max_slab_bytes);
  }
  const auto layout = kernels::SlabLayout::Make(range, formats_, config_.geometry.head_dim);
  if (!layout || layout->payload_bytes() + SlabHeader::kBytes != message.bytes()) {
    return InvalidArgument("need_credit.bytes: {}, expected {} for its range", message.bytes(),
                           layout ? layout->payload_bytes() + SlabHeader::kBytes : 0);
  }
  return absl::OkStatus();
}

absl::Status TransferReceiver::OverlapLoss(uint32_t slab, uint32_t other) const {
  return DataLoss("slab {} overlaps slab {} of the same transfer", slab, other);
}

TransferReceiver::NeedCreditOutcome TransferReceiver::OnNeedCredit(
    uint32_t attempt, const v1::HandoffNeedCredit& message) {
  if (!Receives(attempt)) return Dropped{DropReason::kLate};
  const SlabEntry* known = ledger_->Find(message.slab());
  if (known != nullptr && known->state != SlabState::kBad) return Dropped{DropReason::kDuplicate};
  if (!message.has_range()) return InvalidArgument("need_credit.range: absent");
  const SlabRange range = RangeOf(message.range());
  if (!ledger_->InBounds(range)) {
    return Ack(message.slab(), v1::ACK_CODE_OUT_OF_BOUNDS);
  }
  if (absl::Status status = CheckNeedCredit(message); !status.ok()) return status;
  if (known == nullptr && ledger_->full()) {
    return InvalidArgument("need_credit: more than {} slabs", SlabLedger::kMaxSlabs);
  }
  if (const auto other = ledger_->Overlap(message.slab(), range)) {
    return OverlapLoss(message.slab(), *other);
  }
  const uint64_t payload_bytes = message.bytes() - SlabHeader::kBytes;
  ledger_->Ask(message.slab(), range, payload_bytes);
  return CreditWanted{message.slab(), payload_bytes};
}

std::optional<v1::HandoffResponse> TransferReceiver::OnCredit(uint32_t attempt, uint32_t slab,
                                                              ArenaSpan span) {
  if (!Receives(attempt)) return std::nullopt;
  SlabEntry* entry = ledger_->Find(slab);
  if (entry == nullptr || entry->state != SlabState::kAsked) return std::nullopt;
  entry->state = SlabState::kCredited;
  entry->span = std::make_shared<ArenaSpan>(std::move(span));
  v1::HandoffResponse message = Message();
  message.mutable_credit()->set_slab(slab);
  return message;
}

TransferReceiver::IncomingOutcome TransferReceiver::OnIncoming(const SlabHeader& header,
                                                               uint64_t announced_bytes) {
  if (!Receives(header.attempt)) return Dropped{DropReason::kLate};
  SlabEntry* entry = ledger_->Find(header.slab_number);
  if (entry == nullptr || entry->state == SlabState::kAsked || entry->state == SlabState::kBad) {
    return Dropped{DropReason::kUnasked};
  }
  if (entry->state != SlabState::kCredited) return Dropped{DropReason::kDuplicate};
  if (header.range != entry->range || header.formats != formats_) {
    ledger_->SetBad(header.slab_number);
    return Ack(header.slab_number, v1::ACK_CODE_OUT_OF_BOUNDS);
  }
  if (header.payload_bytes != entry->payload_bytes || announced_bytes != entry->payload_bytes) {
    ledger_->SetBad(header.slab_number);
    return Ack(header.slab_number, v1::ACK_CODE_BAD_CHECKSUM);
  }
  if (const auto other = ledger_->Overlap(header.slab_number, header.range)) {
    return OverlapLoss(header.slab_number, *other);
  }
  entry->state = SlabState::kLanding;
  entry->checksum = header.checksum;
  return Landing{entry->span->bytes(), entry->span};
}

TransferReceiver::LandedOutcome TransferReceiver::OnLanded(const SlabHeader& header,
                                                           const absl::Status& status) {
  if (!Receives(header.attempt)) return Dropped{DropReason::kLate};
  SlabEntry* entry = ledger_->Find(header.slab_number);
  BATON_CHECK(entry != nullptr && entry->state == SlabState::kLanding);
  if (!status.ok()) {
    ledger_->SetBad(header.slab_number);
    return Ack(header.slab_number, v1::ACK_CODE_BAD_CHECKSUM);
  }
  return Scatter{header, entry->span->bytes(), entry->span};
}

TransferReceiver::ScatteredOutcome TransferReceiver::OnScattered(const SlabHeader& header,
                                                                 uint64_t payload_checksum) {
  if (!Receives(header.attempt)) return Dropped{DropReason::kLate};
  const bool good = payload_checksum + kernels::HeaderChecksum(header) == header.checksum;
  if (good) {
    ledger_->SetVerified(header.slab_number);
  } else {
    ledger_->SetBad(header.slab_number);
  }
  return Ack(header.slab_number, good ? v1::ACK_CODE_OK : v1::ACK_CODE_BAD_CHECKSUM);
}

TransferReceiver::CommitOutcome TransferReceiver::OnCommit(uint32_t attempt,
                                                           const v1::HandoffCommit& message) {
  if (!Receives(attempt)) return Dropped{DropReason::kLate};
  if (commit_) return Dropped{DropReason::kDuplicate};
  if (message.first_token() < 0 || message.first_token() >= config_.vocab_size) {
    return InvalidArgument("commit.first_token: {}, expected 0 to {}", message.first_token(),
                           config_.vocab_size - 1);
  }
  if (message.first_token_index() != first_wanted_ ||
      message.end_token() != config_.prompt_tokens) {
    return InvalidArgument("commit: tokens [{}, {}), expected [{}, {})",
                           message.first_token_index(), message.end_token(), first_wanted_,
                           config_.prompt_tokens);
  }
  commit_ = message;
  return Ignored{};
}

std::variant<TransferReceiver::Ignored, TransferReceiver::Completed, absl::Status>
TransferReceiver::TryComplete() {
  if (state_ != State::kReceiving || !commit_) return Ignored{};
  const bool tiled = ledger_->Tiled();
  if (!tiled && ledger_->verified() < commit_->slabs()) return Ignored{};
  if (!tiled || ledger_->verified() != commit_->slabs() ||
      ledger_->bytes_wire() != commit_->bytes_wire() || ledger_->digest() != commit_->digest()) {
    return DataLoss(
        "the slabs contradict the commit: {} slabs, {} bytes, digest {:016x} arrived, "
        "{} slabs, {} bytes, digest {:016x} were committed",
        ledger_->verified(), ledger_->bytes_wire(), ledger_->digest(), commit_->slabs(),
        commit_->bytes_wire(), commit_->digest());
  }
  state_ = State::kComplete;
  Completed completed{Message()};
  completed.committed.mutable_committed()->set_first_token(commit_->first_token());
  return completed;
}

}  // namespace baton
