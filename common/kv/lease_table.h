#pragma once

#include <algorithm>
#include <map>
#include <optional>
#include <utility>
#include <vector>

#include "common/base/clock.h"

namespace baton {

struct LeaseConfig {
  Duration initial = std::chrono::seconds(30);
  Duration extension = std::chrono::seconds(20);    // a renewal lasts at least so long
  Duration renew_period = std::chrono::seconds(5);  // how often the holder renews
};

// Until when each key's memory is kept without word from its peer. Time comes from the caller; keys
// expire in ascending order, so that a run is repeatable. Engine thread only.
template <typename Key>
class LeaseTable {
 public:
  explicit LeaseTable(LeaseConfig config) : config_(config) {}

  // Starts a lease, or restarts it: expiry = now + initial.
  void Grant(const Key& key, TimePoint now) { expiry_[key] = now + config_.initial; }
  // expiry = max(expiry, now + extension). False when there is no such lease.
  bool Renew(const Key& key, TimePoint now) {
    auto found = expiry_.find(key);
    if (found == expiry_.end()) return false;
    found->second = std::max(found->second, now + config_.extension);
    return true;
  }
  // No effect without a lease.
  void Release(const Key& key) { expiry_.erase(key); }

  // Ends and returns every lease whose expiry is at or before `now`.
  std::vector<Key> TakeExpired(TimePoint now) {
    std::vector<Key> expired;
    for (auto it = expiry_.begin(); it != expiry_.end();) {
      if (it->second <= now) {
        expired.push_back(it->first);
        it = expiry_.erase(it);
      } else {
        ++it;
      }
    }
    return expired;
  }

  bool Has(const Key& key) const { return expiry_.contains(key); }
  std::optional<TimePoint> expiry(const Key& key) const {
    auto found = expiry_.find(key);
    return found == expiry_.end() ? std::nullopt : std::optional(found->second);
  }
  size_t size() const { return expiry_.size(); }
  const LeaseConfig& config() const { return config_; }

 private:
  const LeaseConfig config_;
  std::map<Key, TimePoint> expiry_;
};

}  // namespace baton
