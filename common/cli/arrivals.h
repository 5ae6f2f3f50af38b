#pragma once

#include <cstdint>
#include <vector>

#include "common/base/clock.h"

namespace baton {

// When the requests of a load test start, relative to its beginning. Pure; the same seed gives the
// same times. rate = requests per second with exponential gaps (a Poisson process); 0 = all at once
// (the concurrency limit paces them).
std::vector<Duration> ArrivalTimes(int requests, double rate, uint64_t seed);

// Prompt of random token ids in [first_id, vocab), none of `excluded`; depends on (seed, index)
// only.
std::vector<int32_t> RandomPrompt(int length, int32_t vocab, const std::vector<int32_t>& excluded,
                                  uint64_t seed, int index);

}  // namespace baton
