#include "common/rpc/deadline.h"

namespace baton::rpc {
namespace {

using SystemTime = std::chrono::system_clock::time_point;

// Farther away than this counts as no deadline, which keeps the additions below from overflowing.
constexpr auto kFarAway = std::chrono::hours(24 * 365 * 10);

}  // namespace

SystemTime ToSystemTime(TimePoint deadline) {
  const TimePoint now = RealClock().Now();
  if (deadline > now + kFarAway) return SystemTime::max();
  // The epoch, not min(): gRPC takes what it cannot represent for no deadline at all.
  if (deadline < now - kFarAway) return SystemTime();
  return std::chrono::system_clock::now() +
         std::chrono::duration_cast<SystemTime::duration>(deadline - now);
}

TimePoint FromSystemTime(SystemTime deadline) {
  const SystemTime now = std::chrono::system_clock::now();
  if (deadline > now + kFarAway) return TimePoint::max();
  if (deadline < now - kFarAway) return TimePoint::min();
  return RealClock().Now() + std::chrono::duration_cast<Duration>(deadline - now);
}

}  // namespace baton::rpc
