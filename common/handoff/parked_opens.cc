#include "common/handoff/parked_opens.h"

#include <utility>

namespace baton {

bool ParkedOpens::Park(ParkedOpen open) {
  for (ParkedOpen& known : parked_) {
    if (known.transfer == open.transfer && known.attempt == open.attempt &&
        known.session == open.session) {
      known.open = std::move(open.open);
      return true;
    }
  }
  if (parked_.size() >= capacity_) return false;
  parked_.push_back(std::move(open));
  return true;
}

bool ParkedOpens::Remove(const TransferId& transfer, uint32_t attempt, uint64_t session) {
  return !TakeIf([&](const ParkedOpen& o) {
            return o.transfer == transfer && o.attempt == attempt && o.session == session;
          }).empty();
}

void ParkedOpens::RemoveSession(uint64_t session) {
  TakeIf([&](const ParkedOpen& o) { return o.session == session; });
}

std::vector<ParkedOpen> ParkedOpens::TakeTransfer(const TransferId& transfer) {
  return TakeIf([&](const ParkedOpen& o) { return o.transfer == transfer; });
}

}  // namespace baton
