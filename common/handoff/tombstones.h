#pragma once

#include <cstdint>
#include <deque>
#include <map>
#include <optional>

#include "baton/v1/kv.pb.h"
#include "common/base/clock.h"
#include "common/base/ids.h"

namespace baton {

// How a transfer ended, kept for a while so that a late Open is answered at once.
struct Tombstone {
  uint32_t attempt = 0;
  v1::RefuseCode code = v1::REFUSE_CODE_ENDED;
};

// Bounded in number and time; the oldest gives way. Pure; engine thread only.
class Tombstones {
 public:
  struct Config {
    size_t capacity = 4096;
    Duration keep = std::chrono::seconds(10);
  };
  explicit Tombstones(Config config) : config_(config) {}

  void Add(const TransferId& transfer, Tombstone tombstone, TimePoint now);
  // The transfer lives again, under a higher attempt.
  void Remove(const TransferId& transfer) { stones_.erase(transfer); }
  std::optional<Tombstone> Find(const TransferId& transfer) const;
  void Expire(TimePoint now);
  size_t size() const { return stones_.size(); }

 private:
  struct Entry {
    Tombstone tombstone;
    TimePoint expiry;
  };
  struct Order {
    TransferId transfer;
    TimePoint expiry;  // of the Add that queued it: another value in stones_ is a later Add's
  };
  void DropOldest();

  const Config config_;
  std::map<TransferId, Entry> stones_;
  std::deque<Order> order_;  // by expiry
};

}  // namespace baton
