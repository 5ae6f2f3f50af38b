#pragma once

#include <cstdint>
#include <deque>
#include <functional>

#include "common/base/ids.h"
#include "common/handoff/arena.h"

namespace baton {

// Grants arena bytes to slabs, first come, first served across transfers. A credit is a span of the
// arena: what is outstanding never exceeds it, and a credited slab always has a place to land. The
// head of the queue is never overtaken, so that large slabs are not starved by small ones.
//
// Pure; engine thread only (the arena itself is thread-safe).
class CreditQueue {
 public:
  struct Claim {
    TransferId transfer;
    uint32_t attempt = 0;
    uint32_t slab = 0;
    uint64_t bytes = 0;  // at most the arena's capacity
  };
  explicit CreditQueue(Arena& arena) : arena_(arena) {}

  void Ask(Claim claim);
  // Forgets the waiting claims of a transfer. Granted ones end with their spans.
  void Withdraw(const TransferId& transfer);
  // Grants from the head on, as far as the arena reaches.
  void Pump(const std::function<void(const Claim&, ArenaSpan)>& grant);

  size_t waiting() const { return claims_.size(); }

 private:
  Arena& arena_;
  std::deque<Claim> claims_;
};

}  // namespace baton
