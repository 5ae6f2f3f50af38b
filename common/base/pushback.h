#pragma once

#include <chrono>
#include <optional>

#include "absl/status/status.h"
#include "absl/strings/cord.h"
#include "common/base/status.h"

namespace baton {

// A refusal may say when to come back. It travels inside the Status (and over gRPC as the trailing
// metadata `grpc-retry-pushback-ms`).
inline constexpr char kPushbackPayload[] = "baton/retry-pushback-ms";

inline absl::Status WithPushback(absl::Status status, std::chrono::milliseconds delay) {
  if (!status.ok()) {
    status.SetPayload(kPushbackPayload, absl::Cord(ToAbsl(std::to_string(delay.count()))));
  }
  return status;
}

// Empty when the status carries none, or none that is a number from 0 to 24 hours.
inline std::optional<std::chrono::milliseconds> PushbackOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kPushbackPayload);
  if (!payload) return std::nullopt;
  const std::string text(*payload);
  if (text.empty() || text.size() > 8) return std::nullopt;
  int64_t value = 0;
  for (char c : text) {
    if (c < '0' || c > '9') return std::nullopt;
    value = value * 10 + (c - '0');
  }
  if (value > 86'400'000) return std::nullopt;
  return std::chrono::milliseconds(value);
}

}  // namespace baton
