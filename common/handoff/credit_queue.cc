#include "common/handoff/credit_queue.h"

#include <utility>

#include "common/base/check.h"

namespace baton {

void CreditQueue::Ask(Claim claim) {
  BATON_CHECK(claim.bytes >= 1 && claim.bytes <= arena_.capacity());
  claims_.push_back(claim);
}

void CreditQueue::Withdraw(const TransferId& transfer) {
  std::erase_if(claims_, [&](const Claim& claim) { return claim.transfer == transfer; });
}

void CreditQueue::Pump(const std::function<void(const Claim&, ArenaSpan)>& grant) {
  while (!claims_.empty()) {
    std::optional<ArenaSpan> span = arena_.TryTake(claims_.front().bytes);
    if (!span) return;
    const Claim claim = claims_.front();
    claims_.pop_front();
    grant(claim, *std::move(span));
  }
}

}  // namespace baton
