#include "router/routing_policy.h"

#include <tuple>

#include "common/base/status.h"

namespace baton {
namespace {

bool LessLoaded(const Candidate& a, const Candidate& b) {
  return std::tie(a.requests, a.prompt_tokens) < std::tie(b.requests, b.prompt_tokens);
}

class RoundRobin : public RoutingPolicy {
 public:
  size_t Pick(std::span<const Candidate> candidates, uint64_t draw) const override {
    return draw % candidates.size();
  }
};

// Ties go round, so that idle workers share.
class LeastLoaded : public RoutingPolicy {
 public:
  size_t Pick(std::span<const Candidate> candidates, uint64_t draw) const override {
    const size_t start = draw % candidates.size();
    size_t best = start;
    for (size_t i = 1; i < candidates.size(); ++i) {
      const size_t other = (start + i) % candidates.size();
      if (LessLoaded(candidates[other], candidates[best])) best = other;
    }
    return best;
  }
};

// The better of two drawn at random: nearly as even as least loaded, without the rush of many
// routers to the one worker that looked idle in the same stale report.
class PowerOfTwo : public RoutingPolicy {
 public:
  explicit PowerOfTwo(uint64_t seed) : seed_(seed) {}
  size_t Pick(std::span<const Candidate> candidates, uint64_t draw) const override {
    const size_t n = candidates.size();
    if (n == 1) return 0;
    const uint64_t random = Mix(seed_ + draw * 0x9E3779B97F4A7C15ull);
    const size_t first = (random >> 32) % n;
    size_t second = (random & 0xFFFFFFFFull) % (n - 1);
    if (second >= first) ++second;
    return LessLoaded(candidates[second], candidates[first]) ? second : first;
  }

 private:
  // SplitMix64's finalizer.
  static uint64_t Mix(uint64_t x) {
    x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ull;
    x = (x ^ (x >> 27)) * 0x94D049BB133111EBull;
    return x ^ (x >> 31);
  }
  const uint64_t seed_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RoutingPolicy>> MakeRoutingPolicy(std::string_view name,
                                                                 uint64_t seed) {
  std::unique_ptr<RoutingPolicy> policy;
  if (name == "round_robin") {
    policy = std::make_unique<RoundRobin>();
  } else if (name == "least_loaded") {
    policy = std::make_unique<LeastLoaded>();
  } else if (name == "power_of_two") {
    policy = std::make_unique<PowerOfTwo>(seed);
  } else {
    return InvalidArgument("policy: '{}', expected round_robin, least_loaded or power_of_two",
                           name);
  }
  return policy;
}

}  // namespace baton
