#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "baton/v1/decode.pb.h"
#include "common/base/clock.h"
#include "common/base/ids.h"
#include "common/cluster/descriptor.h"
#include "common/engine/scheduler_policy.h"
#include "common/engine/sequence.h"
#include "common/handoff/receiver.h"
#include "common/kv/page_table.h"
#include "common/stream/event_stream.h"

namespace baton {

// One accepted request on a decode worker, from its Start to the end of its stream. Plain state:
// the parts of the worker that own each aspect change it. Engine thread only.
struct Reservation {
  // README.md has the diagram.
  enum class Phase {
    kQueued,    // holds no pages
    kWaiting,   // holds all its pages, waits for the prefill worker's KV
    kDecoding,  // KV complete
  };
  using Stream = EventStream<v1::DecodeResponse, v1::DecodeRequest>;

  Reservation(SequenceKey key, EngineRequest request, TransferReceiver receiver)
      : key(key), sequence(std::move(request)), receiver(std::move(receiver)) {}

  const TransferId& transfer() const { return receiver.config().transfer; }
  uint32_t attempt() const { return receiver.attempt(); }
  const std::string& request_id() const { return sequence.request().id.value(); }

  const SequenceKey key;  // of its Decode stream; later streams have larger ones
  std::shared_ptr<Stream> stream;
  TimePoint deadline;
  std::optional<TimePoint> arrived;  // until it gets its first pages
  Phase phase = Phase::kQueued;
  Sequence sequence;
  TransferReceiver receiver;
  WorkerKey prefill;          // who may hand over, in the present attempt
  int pages_needed = 0;       // for prompt and output
  PageTable pages;            // none in kQueued, else pages_needed
  int matched_pages = 0;      // the first so many are shared: never written
  uint64_t session = 0;       // hand-over stream of the granted Open; 0 = none
  TimePoint granted_at;       // valid once granted
  Duration transfer_time{0};  // Grant to complete; valid in kDecoding
  std::string producer;       // serialized KvProducer of the granted Open
};

// The live reservations of a worker, in order of arrival. At most one per transfer.
class ReservationTable {
 public:
  Reservation* Find(SequenceKey key) const {
    const auto found = by_key_.find(key);
    return found == by_key_.end() ? nullptr : found->second.get();
  }
  Reservation* Find(const TransferId& transfer) const {
    const auto found = by_transfer_.find(transfer);
    return found == by_transfer_.end() ? nullptr : found->second;
  }
  Reservation& Add(std::unique_ptr<Reservation> reservation) {
    Reservation& added = *reservation;
    by_transfer_.emplace(added.transfer(), &added);
    by_key_.emplace(added.key, std::move(reservation));
    return added;
  }
  void Remove(SequenceKey key) {
    const auto found = by_key_.find(key);
    by_transfer_.erase(found->second->transfer());
    by_key_.erase(found);
  }
  const std::map<SequenceKey, std::unique_ptr<Reservation>>& all() const { return by_key_; }
  bool empty() const { return by_key_.empty(); }

 private:
  std::map<SequenceKey, std::unique_ptr<Reservation>> by_key_;
  std::map<TransferId, Reservation*> by_transfer_;
};

}  // namespace baton
