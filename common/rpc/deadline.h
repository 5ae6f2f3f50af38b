#pragma once

#include <chrono>

#include "common/base/clock.h"

namespace baton::rpc {

// gRPC deadlines are wall-clock times, ours are monotonic: both sides of the conversion look at the
// two real clocks now. TimePoint::max() means none in both directions.
std::chrono::system_clock::time_point ToSystemTime(TimePoint deadline);
TimePoint FromSystemTime(std::chrono::system_clock::time_point deadline);

}  // namespace baton::rpc
