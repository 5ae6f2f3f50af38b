#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string_view>

#include "absl/status/statusor.h"

namespace baton {

// A worker that could take the request, as one snapshot saw it.
struct Candidate {
  uint32_t requests = 0;       // with the worker now
  uint32_t prompt_tokens = 0;  // queued there
};

// Chooses one of several workers. Pure: equal arguments give equal choices. `candidates` is not
// empty and ordered by worker id; `draw` rises by one with each choice.
class RoutingPolicy {
 public:
  virtual ~RoutingPolicy() = default;
  virtual size_t Pick(std::span<const Candidate> candidates, uint64_t draw) const = 0;
};

// "round_robin", "least_loaded", "power_of_two"; INVALID_ARGUMENT names the value otherwise. The
// seed only matters to the last.
absl::StatusOr<std::unique_ptr<RoutingPolicy>> MakeRoutingPolicy(std::string_view name,
                                                                 uint64_t seed);

}  // namespace baton
