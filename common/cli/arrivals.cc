#include "common/cli/arrivals.h"

#include <algorithm>
#include <random>

namespace baton {

std::vector<Duration> ArrivalTimes(int requests, double rate, uint64_t seed) {
  std::vector<Duration> times(static_cast<size_t>(requests), Duration::zero());
  if (rate <= 0) return times;
  std::mt19937_64 rng(seed);
  std::exponential_distribution<double> gap(rate);
  double at = 0;
  for (Duration& time : times) {
    time = std::chrono::duration_cast<Duration>(std::chrono::duration<double>(at));
    at += gap(rng);
  }
  return times;
}

std::vector<int32_t> RandomPrompt(int length, int32_t vocab, const std::vector<int32_t>& excluded,
                                  uint64_t seed, int index) {
  std::seed_seq sequence{static_cast<uint32_t>(seed), static_cast<uint32_t>(seed >> 32),
                         static_cast<uint32_t>(index)};
  std::mt19937 rng(sequence);
  std::uniform_int_distribution<int32_t> any(0, vocab - 1);
  std::vector<int32_t> prompt;
  prompt.reserve(static_cast<size_t>(length));
  while (prompt.size() < static_cast<size_t>(length)) {
    const int32_t id = any(rng);
    if (std::find(excluded.begin(), excluded.end(), id) == excluded.end()) prompt.push_back(id);
  }
  return prompt;
}

}  // namespace baton
