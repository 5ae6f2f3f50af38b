#pragma once

#include <optional>
#include <string>

#include "absl/status/status.h"

namespace baton {

// `baton inspect`: what a model folder holds, and whether it may prefill for another.
struct InspectOptions {
  std::string folder;
  std::optional<std::string> with;  // folder of the decode role
  bool trust_model_identity = false;
  bool json = false;
};

// FAILED_PRECONDITION, after the report, when the pair may not serve: it names each reason.
absl::Status RunInspect(const InspectOptions& options);

}  // namespace baton
