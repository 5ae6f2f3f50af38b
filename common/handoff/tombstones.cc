#include "common/handoff/tombstones.h"

namespace baton {

void Tombstones::Add(const TransferId& transfer, Tombstone tombstone, TimePoint now) {
  const TimePoint expiry = now + config_.keep;
  stones_[transfer] = {tombstone, expiry};
  order_.push_back({transfer, expiry});
  while (order_.size() > config_.capacity) DropOldest();
}

std::optional<Tombstone> Tombstones::Find(const TransferId& transfer) const {
  const auto found = stones_.find(transfer);
  if (found == stones_.end()) return std::nullopt;
  return found->second.tombstone;
}

void Tombstones::Expire(TimePoint now) {
  while (!order_.empty() && order_.front().expiry <= now) DropOldest();
}

void Tombstones::DropOldest() {
  const Order oldest = order_.front();
  order_.pop_front();
  const auto found = stones_.find(oldest.transfer);
  if (found != stones_.end() && found->second.expiry == oldest.expiry) stones_.erase(found);
}

}  // namespace baton
