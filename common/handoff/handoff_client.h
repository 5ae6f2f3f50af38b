#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "common/handoff/link.h"
#include "common/handoff/sender.h"
#include "common/handoff/slab_pump.h"
#include "kernels/numeric/aligned_buffer.h"

namespace baton {

// Hands over the KV of a prefill worker's requests: owns the links to decode workers, the send
// arena and one HandoffSender per transfer, and carries out what the senders want done.
//
// Threading: engine thread. Events are posted to the mailbox, never called from inside a method.
// Lifetime: the executor has stopped and the transport is closed before this goes away.
class HandoffClient {
 public:
  struct Config {
    SenderConfig sender;
    v1::WorkerIdentity self;
    size_t arena_bytes = 64 << 20;  // at least two of the largest slabs
    Duration renew_period = std::chrono::seconds(5);
  };
  struct Collaborators {
    ModelRunner& runner;
    Executor& executor;
    Mailbox& mailbox;
    Clock& clock;
    BulkTransport& transport;
    HandoffLinks::Opener opener;
  };
  struct Events {
    // References of the pump's own to the pages of a transfer that is open; called by methods.
    std::function<PageTable(TransferId)> share_pages;
    std::function<void(const TransferKey&, const TransferEnded&)> ended;
    // The decode worker renews the lease of this transfer's pages.
    std::function<void(TransferId)> renewed;
    std::function<void(const absl::Status&)> device_failed;
  };

  // Registers the arena. INVALID_ARGUMENT when it is too small.
  static absl::StatusOr<std::unique_ptr<HandoffClient>> Create(Config config,
                                                               Collaborators collaborators,
                                                               Events events);

  // Starts an attempt; a former one of the same transfer was closed before. An address that makes
  // no sense ends it like a lost stream.
  void Open(HandoffSender::Transfer transfer, const DecodeAddress& decode);
  // No effect on a transfer that is not open (all three).
  void Computed(TransferId id, uint32_t end_token);
  void FirstToken(TransferId id, int32_t token, std::optional<v1::Logprobs> logprobs);
  // Ends the present attempt from this side, tells the decode worker, forgets it.
  void Close(TransferId id, v1::AbortReason reason);
  // Slab time-outs and renewals.
  void Tick(TimePoint now);
  // Gives up all links and transfers without a word.
  void Clear();

  bool open(TransferId id) const { return transfers_.contains(id); }
  // The decode worker has granted the present attempt.
  bool granted(TransferId id) const;
  // What the open attempt has cost so far; zero for a transfer that is not open.
  struct Cost {
    Duration pack_time{0};
    uint64_t bytes_wire = 0;  // slabs that were packed, with their headers
  };
  Cost cost(TransferId id) const;
  bool idle() const { return transfers_.empty() && pump_.idle(); }
  // Messages of former attempts or of transfers that have ended.
  int64_t stale_messages() const { return stale_messages_; }
  size_t link_count() const { return links_.size(); }
  size_t arena_used() const { return pump_.arena_used(); }

 private:
  struct Transfer {
    HandoffLinks::LinkId link = 0;
    HandoffSender sender;
    Duration pack_time{0};
  };

  HandoffClient(Config config, Collaborators collaborators, Events events);
  Transfer* Find(const TransferKey& key);
  void Apply(Transfer& transfer);
  void PostEnded(const TransferKey& key, TransferEnded ended);
  void OnMessage(HandoffLinks::LinkId link, TransferId id, const v1::HandoffResponse& message);
  void OnRenewed(HandoffLinks::LinkId link, const std::vector<TransferId>& ids);
  void OnBroken(HandoffLinks::LinkId link, const absl::Status& status);
  void Renew();

  const Config config_;
  Mailbox& mailbox_;
  const Events events_;
  kernels::AlignedBuffer<std::byte> arena_;
  SlabPump pump_;
  HandoffLinks links_;
  std::map<TransferId, Transfer> transfers_;  // open attempts
  TimePoint renew_due_ = TimePoint::min();
  int64_t stale_messages_ = 0;
};

}  // namespace baton
