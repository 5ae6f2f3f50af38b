#pragma once

#include <compare>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>

#include "absl/status/status.h"
#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/base/mailbox.h"
#include "common/engine/executor.h"
#include "common/engine/model_runner.h"
#include "common/handoff/arena.h"
#include "common/handoff/bulk_transport.h"
#include "common/handoff/sender.h"
#include "common/kv/page_table.h"

namespace baton {

// One attempt of one transfer.
struct TransferKey {
  TransferId id;
  uint32_t attempt = 0;
  friend auto operator<=>(const TransferKey&, const TransferKey&) = default;
};

// Packs slabs on the copy lane into the send arena and sends them. First come, first served over
// all transfers. Holds the pages until a slab is packed and the arena span until the transport is
// done with it, whatever happens to the transfer meanwhile.
//
// Threading: engine thread; completions come through the mailbox.
// Lifetime: the executor has stopped and the transport is closed before this goes away.
class SlabPump {
 public:
  struct Events {
    // `checksum` of the payload. The slab is dropped unless Send is called before this returns.
    std::function<void(const TransferKey&, uint32_t slab, uint64_t checksum, Duration spent)>
        packed;
    std::function<void(const TransferKey&, uint32_t slab, const absl::Status&)> sent;
    // The device cannot pack any more.
    std::function<void(const absl::Status&)> device_failed;
  };

  SlabPump(ModelRunner& runner, Executor& executor, Mailbox& mailbox, Clock& clock,
           std::span<std::byte> arena, Events events);

  // `pages` cover the slab's range.
  void Pack(const TransferKey& key, const PackSlab& slab, PageTable pages);
  // Sends what was packed. `connection` may be null: the slab is lost at once.
  void Send(const TransferKey& key, uint32_t slab, const kernels::SlabHeader& header,
            const std::shared_ptr<BulkConnection>& connection);
  // Forgets the slabs of an attempt that wait; those under way end silently.
  void Drop(const TransferKey& key);

  bool idle() const { return waiting_.empty() && in_flight_.empty(); }
  size_t arena_used() const { return arena_.used(); }

 private:
  struct Job {
    TransferKey key;
    PackSlab slab;
    PageTable pages;  // until packed
    ArenaSpan span;   // from the start of packing on
    bool sending = false;
    bool dropped = false;
  };

  void StartWaiting();
  void OnPacked(uint64_t job, const absl::StatusOr<uint64_t>& checksum, Duration spent);
  void OnSent(uint64_t job, const absl::Status& status);

  ModelRunner& runner_;
  Executor& executor_;
  Mailbox& mailbox_;
  Clock& clock_;
  const Events events_;
  Arena arena_;
  std::deque<Job> waiting_;            // for a span
  std::map<uint64_t, Job> in_flight_;  // packing or sending
  uint64_t next_job_ = 1;
};

}  // namespace baton
