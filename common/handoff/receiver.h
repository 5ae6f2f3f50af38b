#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <variant>

#include "absl/status/status.h"
#include "baton/v1/handoff.pb.h"
#include "common/base/ids.h"
#include "common/handoff/slab_ledger.h"
#include "kernels/kv_pack/slab.h"
#include "kernels/kv_page/layout.h"

namespace baton {

// The decode worker's side of one hand-over, from its Start to the complete KV: which attempt
// counts, what was granted, which slabs are where, whether they tile the prompt (README.md has the
// diagram). A new attempt forgets every slab and Commit of an incomplete former one.
//
// Pure: events in, outcomes out; no clock, streams or pages. Engine thread only. Every event names
// its attempt, and an event of another attempt is Dropped. An outcome that is an absl::Status means
// that the transfer cannot succeed any more: the caller ends it.
class TransferReceiver {
 public:
  enum class State {
    kExpecting,  // no Open of this attempt yet
    kReceiving,  // granted
    kEnded,      // this attempt is over, the next one may come
    kComplete,   // all KV is there; for good
  };
  struct Config {
    TransferId transfer;
    kernels::KvGeometry geometry;
    uint32_t prompt_tokens = 0;
    uint64_t max_slab_bytes = 0;  // header and payload
    int vocab_size = 0;
  };

  // Why a message had no effect.
  enum class DropReason { kLate, kDuplicate, kUnasked };
  struct Dropped {
    DropReason reason;
  };
  struct Ignored {};  // in order, nothing to do

  TransferReceiver(Config config, uint32_t attempt) : config_(config), attempt_(attempt) {}

  State state() const { return state_; }
  uint32_t attempt() const { return attempt_; }
  const Config& config() const { return config_; }

  // A higher attempt. A complete transfer stays complete.
  void Rebind(uint32_t attempt);
  // The Open of this attempt was accepted: kExpecting -> kReceiving. first_wanted <= prompt_tokens.
  v1::HandoffResponse Grant(v1::KvFormat wire_format, kernels::KvFormats formats,
                            uint32_t first_wanted);
  // The Grant again, for a repeated Open; kReceiving only.
  v1::HandoffResponse RepeatGrant() const;
  // The attempt is over (abort, loss, lease): its slabs and credits are given up. Not when
  // complete.
  void EndAttempt();

  struct CreditWanted {
    uint32_t slab = 0;
    uint64_t bytes = 0;  // of the span: the payload
  };
  using NeedCreditOutcome = std::variant<Dropped, CreditWanted, v1::HandoffResponse, absl::Status>;
  NeedCreditOutcome OnNeedCredit(uint32_t attempt, const v1::HandoffNeedCredit& message);

  // The arena has room: the Credit message, or nothing when the slab no longer waits for it.
  std::optional<v1::HandoffResponse> OnCredit(uint32_t attempt, uint32_t slab, ArenaSpan span);

  // A slab is announced, its bytes are not here. Landing: give its span to the transport and keep
  // `hold` until the transport is done.
  struct Landing {
    std::span<std::byte> bytes;
    std::shared_ptr<ArenaSpan> hold;
  };
  using IncomingOutcome = std::variant<Dropped, Landing, v1::HandoffResponse, absl::Status>;
  IncomingOutcome OnIncoming(const kernels::SlabHeader& header, uint64_t announced_bytes);

  // The transport is done with a landing. Scatter: write the payload into the pages, keep `hold`
  // until that is done.
  struct Scatter {
    kernels::SlabHeader header;
    std::span<const std::byte> payload;
    std::shared_ptr<ArenaSpan> hold;
  };
  using LandedOutcome = std::variant<Dropped, Scatter, v1::HandoffResponse>;
  LandedOutcome OnLanded(const kernels::SlabHeader& header, const absl::Status& status);

  // The payload is in the pages. The Ack, by its checksum.
  using ScatteredOutcome = std::variant<Dropped, v1::HandoffResponse>;
  ScatteredOutcome OnScattered(const kernels::SlabHeader& header, uint64_t payload_checksum);

  using CommitOutcome = std::variant<Dropped, Ignored, absl::Status>;
  CommitOutcome OnCommit(uint32_t attempt, const v1::HandoffCommit& message);

  // To be called after OnCommit and OnScattered: the complete transfer, once. DATA_LOSS when what
  // arrived contradicts the Commit.
  struct Completed {
    v1::HandoffResponse committed;  // for the prefill worker
  };
  std::variant<Ignored, Completed, absl::Status> TryComplete();

  // Of the present or complete attempt; zeros before a Grant.
  const v1::HandoffCommit& commit() const { return commit_.value(); }  // has_commit()
  bool has_commit() const { return commit_.has_value(); }
  v1::KvFormat wire_format() const { return wire_format_; }
  uint32_t first_wanted() const { return first_wanted_; }
  uint32_t slabs() const { return ledger_ ? ledger_->verified() : 0; }
  uint64_t bytes_wire() const { return ledger_ ? ledger_->bytes_wire() : 0; }

 private:
  v1::HandoffResponse Message() const;
  v1::HandoffResponse Ack(uint32_t slab, v1::AckCode code) const;
  bool Receives(uint32_t attempt) const {
    return state_ == State::kReceiving && attempt == attempt_;
  }
  absl::Status CheckNeedCredit(const v1::HandoffNeedCredit& message) const;
  absl::Status OverlapLoss(uint32_t slab, uint32_t other) const;

  const Config config_;
  State state_ = State::kExpecting;
  uint32_t attempt_;
  v1::KvFormat wire_format_ = v1::KV_FORMAT_UNSPECIFIED;
  kernels::KvFormats formats_;
  uint32_t first_wanted_ = 0;
  std::optional<SlabLedger> ledger_;  // from Grant on
  std::optional<v1::HandoffCommit> commit_;
};

}  // namespace baton
