#pragma once

#include <cstdint>
#include <map>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "absl/status/status.h"
#include "baton/v1/handoff.pb.h"
#include "common/base/clock.h"
#include "common/base/ids.h"
#include "kernels/kv_pack/slab.h"
#include "kernels/kv_page/layout.h"

namespace baton {

struct SenderConfig {
  kernels::KvGeometry geometry;
  v1::KvContract contract;        // of this worker; wire_formats are those it can pack
  uint64_t slab_bytes = 4 << 20;  // largest slab this worker sends, header and payload
  int credit_window = 4;          // slabs asked for and not yet sent
  Duration slab_timeout = std::chrono::seconds(5);  // send completed, no Ack
};

// What a HandoffSender wants done, in this order.
struct SendControl {
  v1::HandoffRequest message;
};
struct PackSlab {
  uint32_t slab = 0;
  kernels::SlabRange range;
  kernels::KvFormats wire;
  uint64_t payload_bytes = 0;
};
struct SendSlab {
  uint32_t slab = 0;
  kernels::SlabHeader header;
};
// The attempt is over; nothing follows.
struct TransferEnded {
  enum class Outcome {
    kDelivered,  // the decode worker has all it needs
    kRefused,    // the KV may go to another decode worker
    kFailed,     // the request ends with `status`
  };
  Outcome outcome = Outcome::kDelivered;
  v1::RefuseCode code = v1::REFUSE_CODE_UNSPECIFIED;  // kRefused, kFailed
  std::vector<v1::Mismatch> mismatches;               // kRefused
  absl::Status status;                                // kFailed; why a link was lost
};
using SenderAction = std::variant<SendControl, PackSlab, SendSlab, TransferEnded>;

// The prefill worker's half of one attempt to hand the KV of one prompt to one decode worker
// (protocol.md, "One request"; the diagram is in README.md). Pure: events go in, actions are
// collected by TakeActions, time is an argument. After its end every event is ignored.
//
// Answers of a peer are untrusted: one that contradicts the state fails the transfer with
// INVALID_ARGUMENT; duplicates of what was true once are dropped and counted.
class HandoffSender {
 public:
  struct Transfer {
    TransferId id;
    uint32_t attempt = 1;
    std::string request_id;
    uint32_t prompt_tokens = 0;
  };
  // Opens the transfer.
  HandoffSender(const SenderConfig& config, Transfer transfer);

  // Progress of this worker. `end_token`: KV of [0, end_token) is in the pages.
  void Computed(uint32_t end_token);
  void FirstToken(int32_t token, std::optional<v1::Logprobs> logprobs);
  // `payload_checksum` covers the payload only.
  void Packed(uint32_t slab, uint64_t payload_checksum);
  // The transport may reuse the span, or has failed.
  void Sent(uint32_t slab, const absl::Status& status, TimePoint now);

  // A message of this transfer and attempt.
  void Receive(const v1::HandoffResponse& message);

  void Tick(TimePoint now);
  // Ends the attempt from this side and tells the peer why. No TransferEnded follows.
  void Abort(v1::AbortReason reason);
  // The stream or the bulk connection broke; `why` goes to the log.
  void Lost(absl::Status why);

  std::vector<SenderAction> TakeActions();

  const Transfer& transfer() const { return transfer_; }
  bool granted() const { return state_ == State::kGranted || state_ == State::kCommitting; }
  bool ended() const { return state_ == State::kEnded; }
  // Messages dropped as duplicates.
  int duplicates() const { return duplicates_; }
  uint64_t bytes_wire() const { return bytes_wire_; }
  uint32_t slabs() const { return static_cast<uint32_t>(slabs_.size()); }

 private:
  enum class State { kOpening, kGranted, kCommitting, kEnded };
  enum class SlabState { kPlanned, kAsked, kPacking, kSending, kSent, kAcked };
  struct Slab {
    kernels::SlabRange range;
    SlabState state = SlabState::kPlanned;
    TimePoint sent_at;  // valid in kSent
  };

  void OnGrant(const v1::HandoffGrant& grant);
  void OnRefuse(const v1::HandoffRefuse& refuse);
  void OnCredit(uint32_t slab);
  void OnAck(const v1::HandoffAck& ack);
  void OnPeerAbort(v1::AbortReason reason);
  void PlanComputed();
  void AskForCredit();
  void CommitIfComplete();
  void Send(v1::HandoffRequest message);
  void FailMalformed(absl::Status status);
  void FailDataLoss(const std::string& what);
  void Refused(v1::RefuseCode code, std::vector<v1::Mismatch> mismatches, absl::Status why);
  void End(TransferEnded ended);

  const SenderConfig config_;
  const Transfer transfer_;
  State state_ = State::kOpening;
  std::vector<SenderAction> actions_;

  kernels::KvFormats wire_;      // valid once granted
  uint64_t max_slab_bytes_ = 0;  // valid once granted
  uint32_t first_wanted_ = 0;    // valid once granted
  uint32_t planned_end_ = 0;     // slabs cover [first_wanted_, planned_end_)
  uint32_t computed_end_ = 0;
  std::optional<v1::HandoffCommit> first_token_;  // token and log-probabilities only
  std::vector<Slab> slabs_;                       // by number
  size_t next_to_ask_ = 0;                        // slabs_ before it were asked for
  int in_window_ = 0;                             // slabs in kAsked, kPacking
  size_t packed_ = 0;
  uint64_t digest_ = 0;
  uint64_t bytes_wire_ = 0;
  int duplicates_ = 0;
};

}  // namespace baton
