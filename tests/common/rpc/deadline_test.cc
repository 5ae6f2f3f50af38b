#include "common/rpc/deadline.h"

#include <gtest/gtest.h>

namespace baton::rpc {
namespace {

using std::chrono::system_clock;

TEST(Deadline, RoundTripKeepsTheDistance) {
  const TimePoint deadline = RealClock().Now() + std::chrono::hours(5);
  const Duration error = FromSystemTime(ToSystemTime(deadline)) - deadline;
  // Two looks at two clocks; far below the distance itself.
  EXPECT_LT(std::abs(Seconds(error)), 3600);
}

TEST(Deadline, EndsOfTheRangeStayEnds) {
  EXPECT_EQ(ToSystemTime(TimePoint::max()), system_clock::time_point::max());
  EXPECT_LT(ToSystemTime(TimePoint::min()), system_clock::now());
  EXPECT_EQ(FromSystemTime(ToSystemTime(TimePoint::min())), TimePoint::min());
  EXPECT_EQ(FromSystemTime(system_clock::time_point::max()), TimePoint::max());
  EXPECT_EQ(FromSystemTime(system_clock::time_point::min()), TimePoint::min());
}

}  // namespace
}  // namespace baton::rpc
