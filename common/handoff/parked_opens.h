#pragma once

#include <cstdint>
#include <deque>
#include <optional>
#include <vector>

#include "baton/v1/handoff.pb.h"
#include "common/base/clock.h"
#include "common/base/ids.h"

namespace baton {

// An Open that came before the Start or Rebind that it belongs to, or before its pages.
struct ParkedOpen {
  TransferId transfer;
  uint32_t attempt = 0;
  uint64_t session = 0;  // hand-over stream it came on
  v1::HandoffOpen open;
  TimePoint since;
};

// The waiting room of Opens, bounded, oldest first. Pure; engine thread only.
class ParkedOpens {
 public:
  explicit ParkedOpens(size_t capacity) : capacity_(capacity) {}

  // False when full. A repeated Open (same transfer, attempt, session) is kept once.
  [[nodiscard]] bool Park(ParkedOpen open);
  // False when it was not there.
  bool Remove(const TransferId& transfer, uint32_t attempt, uint64_t session);
  void RemoveSession(uint64_t session);
  std::vector<ParkedOpen> TakeTransfer(const TransferId& transfer);
  // Takes those parked at or before `limit` for which `stays` is false.
  template <typename Stays>
  std::vector<ParkedOpen> TakeOlder(TimePoint limit, Stays stays) {
    return TakeIf([&](const ParkedOpen& o) { return o.since <= limit && !stays(o); });
  }

  const std::deque<ParkedOpen>& all() const { return parked_; }

 private:
  template <typename Predicate>
  std::vector<ParkedOpen> TakeIf(Predicate predicate) {
    std::vector<ParkedOpen> taken;
    std::deque<ParkedOpen> kept;
    for (ParkedOpen& open : parked_) {
      if (predicate(open)) {
        taken.push_back(std::move(open));
      } else {
        kept.push_back(std::move(open));
      }
    }
    parked_ = std::move(kept);
    return taken;
  }

  const size_t capacity_;
  std::deque<ParkedOpen> parked_;
};

}  // namespace baton
